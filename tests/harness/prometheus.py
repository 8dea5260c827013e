"""A real Prometheus of a test's own, as Debian has it, on a free port of the loopback interface."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from dashboards.files import RULES

from ocs.router.server import free_port
from tests.harness.waiting import wait_for


@contextmanager
def prometheus(folder: Path, *, rules: Path = RULES, **targets: str) -> Iterator[str]:
    """Run a Prometheus that scrapes and looks at its rules each second; gives its URL.

    Args:
        folder: for all that it writes; made.
        rules: the folder of the rules that it goes by; those of the repository unless given.
        targets: job -> host and port that it asks.
    """
    if shutil.which("prometheus") is None:
        pytest.fail("no prometheus: apt-get install --no-install-recommends prometheus")
    folder.mkdir(parents=True)
    config = folder / "prometheus.yml"
    config.write_text(_config(rules, targets))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        wait_for(lambda: answers_ok(f"http://{address}/-/ready"), 60)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def _config(rules: Path, targets: dict[str, str]) -> str:
    jobs = [
        {"job_name": job, "honor_labels": True, "static_configs": [{"targets": [target]}]}
        for job, target in targets.items()
    ]
    intervals = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    files = [str(path) for path in sorted(rules.glob("*.yml"))]
    return yaml.safe_dump({"global": intervals, "rule_files": files, "scrape_configs": jobs})


def answers_ok(url: str) -> bool:
    """Tell whether a server answers a GET with 200."""
    with suppress(OSError), urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
