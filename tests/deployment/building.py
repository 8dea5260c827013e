"""Images made where nothing can be pulled, of this machine's Python and wheels from outside; folders to use them."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = "ocs-base:local"
BUILT_TOGETHER = ("docker", "ocs", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")


class Deployment:
    """A folder with a compose file, and the commands that a person would give in it.

    Attributes:
        folder: where commands are run.
        env: the environment that they get: which engine, which images, which project.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = {**os.environ, **env}

    def run(self, *command: str, check: bool = True, timeout: float = 60.0, **kwargs) -> subprocess.CompletedProcess:
        """Run a command; its output is in the failure if it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL if "input" not in kwargs else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            **kwargs,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done

    def compose(self, *arguments: str, **kwargs) -> str:
        """Run `docker compose`, and return what it printed."""
        return self.run("docker", "compose", *arguments, **kwargs).stdout

    def inspect(self, service: str, form: str) -> str:
        """Tell something of the container of a service, by a format of `docker inspect`."""
        container = self.compose("ps", "--all", "--quiet", service).strip()
        return self.run("docker", "inspect", "--format", form, container).stdout.strip()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def copy_sources(target: Path) -> Path:
    """Copy what images are built from, and the compose site; returns its folder."""
    ballast = shutil.ignore_patterns("__pycache__", "*.whl")
    for name in BUILT_TOGETHER:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ballast)
        else:
            shutil.copy(source, target / name)
    return target / "docker"


def make_wheels(target: Path) -> None:
    """Make wheels of what the images need, in the versions that are tested here."""
    asked = [sys.executable, str(ROOT / "docker" / "requirements.py"), "hk", "prometheus", "router"]
    needed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    # Of idna the tests' environment has a newer one than crossbar asks for: the agent service's packages want that.
    here = {dist.name: dist.version for dist in metadata.distributions() if dist.name not in ("ocs", "idna")}
    (target / "needed.txt").write_text(needed + "hatchling\n")
    (target / "here.txt").write_text("".join(f"{name}=={version}\n" for name, version in here.items()))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(target)]
    chosen = ["--requirement", str(target / "needed.txt"), "--constraint", str(target / "here.txt")]
    env = {**os.environ, "PYBJDATA_NO_EXTENSION": "1", "PYUBJSON_NO_EXTENSION": "1"}
    done = subprocess.run([*pip, *chosen], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]


def make_base(deployment: Deployment) -> None:
    """Make the base image, as docs/user/docker.md says."""
    with subprocess.Popen([sys.executable, ROOT / "docker" / "local_base.py"], stdout=subprocess.PIPE) as maker:
        into = ["docker", "import", "--change", 'CMD ["python3"]', "-", BASE]
        subprocess.run(into, env=deployment.env, stdin=maker.stdout, capture_output=True, check=True, timeout=60)
    assert maker.returncode == 0


def build_images(deployment: Deployment) -> None:
    """Make the images of the compose file, without any network: all that they are made of is at hand."""
    services = yaml.safe_load((deployment.folder / "compose.yaml").read_text())["services"]
    offline = {name: {"build": {"network": "none"}} for name, entry in services.items() if "build" in entry}
    (deployment.folder / "compose.override.yaml").write_text(yaml.safe_dump({"services": offline}))
    deployment.compose("build", "--quiet", timeout=600)


def move_port(site_file: Path, port: int) -> None:
    """Give the hub of a site file another port; what hosts say of it stays."""
    hub, mark, rest = site_file.read_text().partition("\nhosts:")
    site_file.write_text(re.sub(r"(127\.0\.0\.1):\d+", rf"\1:{port}", hub) + mark + rest)
    assert f":{port}/" in yaml.safe_load(site_file.read_text())["hub"]["wamp_server"]
