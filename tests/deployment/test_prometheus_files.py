"""What Prometheus reads in the compose site is valid, and its rules fire for what they say and for nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deployment.test_files import services

PROMETHEUS = Path(__file__).resolve().parents[2] / "docker" / "prometheus"


@pytest.fixture
def promtool():
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("no promtool: apt-get install --no-install-recommends prometheus")

    def run(*arguments):
        done = subprocess.run(
            [program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_the_configuration_is_valid(promtool):
    promtool("check", "config", "prometheus.yml")


def test_the_rules_are_valid(promtool):
    promtool("check", "rules", *map(str, PROMETHEUS.glob("rules/*.yml")))


def test_the_rules_fire_for_what_they_say(promtool):
    promtool("test", "rules", *map(str, PROMETHEUS.glob("tests/*.yml")))


def test_every_rule_has_a_test():
    files = [yaml.safe_load(path.read_text()) for path in PROMETHEUS.glob("rules/*.yml")]
    rules = {rule["alert"] for file in files for group in file["groups"] for rule in group["rules"]}
    cases = [yaml.safe_load(path.read_text())["tests"] for path in PROMETHEUS.glob("tests/*.yml")]
    fired = {
        expected["alertname"]
        for file in cases
        for case in file
        for expected in case["alert_rule_test"]
        if expected["exp_alerts"]
    }
    assert fired == rules


def test_it_asks_the_exporter_of_the_site():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    targets = [
        target for job in config["scrape_configs"] for entry in job["static_configs"] for target in entry["targets"]
    ]
    assert [target.partition(":")[0] for target in targets] == ["ocs-exporter"]
    assert "ocs-exporter" in services(PROMETHEUS.parent / "compose.yaml")
