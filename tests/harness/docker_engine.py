"""A real docker engine for the tests, with Compose and an image made of this machine's busybox: see docker-tests.md."""

import fcntl
import io
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.waiting import wait_for

IMAGE = "ocs-test/busybox:1"
_SET_FLAGS, _ADD_BRIDGE, _REMOVE_BRIDGE = 0x8914, 0x89A0, 0x89A1  # SIOCSIFFLAGS, SIOCBRADDBR, SIOCBRDELBR
_PLUGIN_FOLDERS = ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
_APPLETS = ("sh", "sleep", "echo", "true", "false", "cat", "kill", "nc", "wget", "hostname", "seq")


class EngineMissingError(Exception):
    """Docker cannot run here; the text says why."""


def need_engine(start):
    """Return what `start` returns; where docker cannot run the test is skipped, in CI it fails: that has to have it."""
    try:
        return start()
    except EngineMissingError as error:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        return say(f"no docker engine for the tests: {error}")


def find_compose() -> Path:
    """Return the Compose program, which is a stand-alone program and docker's plugin alike."""
    folders = [Path(sys.prefix) / "docker" / "cli-plugins", Path("~/.docker/cli-plugins").expanduser()]
    folders += [Path(folder) / "docker" / "cli-plugins" for folder in _PLUGIN_FOLDERS]
    for candidate in [os.environ.get("OCS_TEST_COMPOSE", ""), *(folder / "docker-compose" for folder in folders)]:
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate).absolute()
    raise EngineMissingError(
        "no docker-compose plugin; .ci/setup fetches one into .venv, OCS_TEST_COMPOSE names another"
    )


def find_program(name: str, package: str) -> str:
    """Return where a program is, also where only root's PATH has it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not found:
        raise EngineMissingError(f"no program {name}; Debian: apt install {package}")
    return found


class DockerEngine:
    """An engine that tests may do anything to.

    Attributes:
        env: what makes docker and compose programs use it.
        compose_bin: the stand-alone Compose program.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.compose_bin = find_compose()
        plugins = folder / "config" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(self.compose_bin)
        self.env = {"DOCKER_HOST": host, "DOCKER_CONFIG": str(plugins.parent)}
        self._docker = find_program("docker", "docker.io")

    def docker(self, *arguments: str, check: bool = True, timeout: float = 60.0, **keywords) -> str:
        """Run the docker program, and return what it printed."""
        done = subprocess.run(
            [self._docker, *arguments],
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL if "input" not in keywords else None,
            capture_output=True,
            check=False,
            timeout=timeout,
            **keywords,
        )
        words = " ".join(arguments)[:200]
        assert not check or done.returncode == 0, f"docker {words}: {done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def compose(self, file: Path, *arguments: str, **keywords) -> str:
        """Run `docker compose` on a file."""
        return self.docker("compose", "-f", str(file), *arguments, **keywords)

    def add_image(self, name: str = IMAGE, *, note: str = "") -> str:
        """Make an image of busybox alone, another one for each note, and return its id."""
        return self.docker("import", "-", name, input=busybox_archive(note))

    def remove_project(self, name: str) -> None:
        """Remove the containers and networks of one compose project."""
        label = f"--filter=label=com.docker.compose.project={name}"
        if found := self.docker("ps", "--all", "--quiet", label).split():
            self.docker("rm", "--force", "--volumes", *found, check=False)
        if found := self.docker("network", "ls", "--quiet", label).split():
            self.docker("network", "rm", *found, check=False)

    def close(self) -> None:
        """Leave the engine as it was found, but for images."""


class PrivateEngine(DockerEngine):
    """An engine of the tests' own, beside any other: its own data, socket and networks.

    Attributes:
        process: dockerd; its containerd is apart from it, as where systemd starts both, and outlives it.
    """

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            raise EngineMissingError("dockerd has to be started by root")
        # A socket's path may not be longer than 107 bytes; pytest's folders can be.
        self._run = Path(f"/tmp/ocs-docker-{uuid.uuid4().hex[:12]}")
        self._run.mkdir(mode=0o700)
        super().__init__(folder, f"unix://{self._run}/docker.sock")
        self._data = folder / "data"
        self._log = folder / "engine.log"
        self._bridge = f"ocs-{secrets.token_hex(4)}"
        self._networks = f"10.213.{secrets.randbelow(64) * 4}.0/22"
        self._containerd: subprocess.Popen | None = None
        self.process: subprocess.Popen | None = None
        try:
            add_bridge(self._bridge)
            self._start_containerd()
            self.start()
            self._let_networks_talk("-I")
            self.add_image()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the engine, and wait until it answers."""
        options = ["--data-root", self._data, "--exec-root", self._run, "--pidfile", self._run / "pid"]
        options += ["--host", self.env["DOCKER_HOST"], "--containerd", self._run / "containerd.sock"]
        # The machine's firewall is left alone, and its routing: an engine of the user's own may count on them.
        # Without a bridge of its own it would use, or remove, that of the user's engine.
        options += [f"--bridge={self._bridge}", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        options += [f"--default-address-pool=base={self._networks},size=26", "--shutdown-timeout=1"]
        self.process = self._spawn("dockerd", *options)
        wait_for(self._answers, timeout=60)

    def kill(self) -> None:
        """End the engine, as a crash does; its containers run on."""
        self.process.kill()
        self.process.wait(30)

    def pause(self) -> None:
        """Have the engine hang."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self.process.send_signal(signal.SIGCONT)

    def clear(self) -> None:
        """Remove all containers and networks."""
        for kind, remove in (("ps --all", "rm --force --volumes"), ("network ls --filter=type=custom", "network rm")):
            if found := self.docker(*kind.split(), "--quiet").split():
                self.docker(*remove.split(), *found, check=False)

    def close(self) -> None:
        """End all that this engine has started, and remove its folders."""
        if self.process and self.process.poll() is None:
            self.resume()
            with suppress(AssertionError, subprocess.TimeoutExpired):
                self.clear()
        self._let_networks_talk("-D")
        for process in filter(None, (self.process, self._containerd)):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        self._kill_the_rest()
        remove_bridge(self._bridge)
        for mount in sorted(_mounts_below(self.folder, self._run), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        for folder in (self._run, self._data):
            shutil.rmtree(folder, ignore_errors=True)

    def _start_containerd(self) -> None:
        config = self._run / "containerd.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        options = ["--config", config, "--address", self._run / "containerd.sock", "--log-level", "error"]
        options += ["--root", self._data / "containerd", "--state", self._run / "containerd"]
        self._containerd = self._spawn("containerd", *options)

    def _spawn(self, program: str, *options) -> subprocess.Popen:
        env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"}
        command = [find_program(program, "docker.io"), *options]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise EngineMissingError(f"dockerd does not run here: {_last_words(self._log)}")
        return (self._run / "docker.sock").exists() and bool(
            self.docker("version", "--format", "{{.Server.Version}}", check=False)
        )

    def _let_networks_talk(self, action: str) -> None:
        """Let our networks' own packets pass, where another engine has had the firewall drop what it does not know."""
        iptables = shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin")
        if iptables:
            rule = ["FORWARD", "-s", self._networks, "-d", self._networks, "-j", "ACCEPT"]
            subprocess.run([iptables, "--wait", "5", action, *rule], check=False, capture_output=True, timeout=10)

    def _kill_the_rest(self) -> None:
        for _attempt in range(100):
            if not (left := self._processes()):
                return
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in filter(None, (self.process, self._containerd)):
                process.poll()
            time.sleep(0.05)

    def _processes(self) -> list[int]:
        """The engine's processes: those that name its folder."""
        name, found = str(self._run).encode(), []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with suppress(OSError):
                    if name in (folder / "cmdline").read_bytes():
                        found.append(int(folder.name))
        return found


def add_bridge(name: str) -> None:
    """Make a network bridge, which needs no program for it.

    Raises:
        EngineMissingError: the system refuses.
    """
    try:
        _ask_network(_ADD_BRIDGE, name.encode())
    except OSError as error:
        raise EngineMissingError(f"no network bridge can be made here: {error.strerror}") from error


def remove_bridge(name: str) -> None:
    """Remove a network bridge, if it is there."""
    with suppress(OSError):
        _ask_network(_SET_FLAGS, struct.pack("16sh22x", name.encode(), 0))
        _ask_network(_REMOVE_BRIDGE, name.encode())


def _ask_network(request: int, argument: bytes) -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, request, argument.ljust(40, b"\0"))


def start_engine(folder: Path) -> DockerEngine:
    """Return the engine that OCS_TEST_DOCKER_HOST names, else one of the tests' own."""
    if host := os.environ.get("OCS_TEST_DOCKER_HOST"):
        engine = DockerEngine(folder, host)
        engine.add_image()
        return engine
    return PrivateEngine(folder)


def busybox_archive(note: str = "") -> bytes:
    """Return a file system with nothing but busybox, as a tar archive."""
    busybox = Path(find_program("busybox", "busybox-static")).read_bytes()
    if b"/ld-linux" in busybox:
        raise EngineMissingError(
            "busybox needs libraries that an image of it alone has not; apt install busybox-static"
        )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        _add_file(tar, "bin/busybox", busybox, 0o755)
        _add_file(tar, "note", note.encode(), 0o644)
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _mounts_below(*folders: Path) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [mount for mount in mounts if any(mount.startswith(f"{folder}/") for folder in folders)]


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or "it says nothing"
