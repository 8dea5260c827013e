"""What happens to docker happens to the docker services alone, is told in docker's own words, and passes by itself."""

import os
import sys
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from ocs.agents.host_manager.docker import Compose, Limits
from ocs.errors import DockerError
from tests.harness.compose_site import ComposeSite, service, until

pytestmark = pytest.mark.faults

IMPATIENT = Limits(look=2.0, config=5.0, silence=1.5, stop=1.0, poll=0.5, files=0.1, first_pause=0.1)


@pytest_twisted.async_yield_fixture
async def site(tmp_path, own_docker_engine, monkeypatch):
    for name, value in own_docker_engine.env.items():
        monkeypatch.setenv(name, value)
    made = ComposeSite(tmp_path, own_docker_engine)
    yield made
    for compose in made.running:
        await compose.stop()


@pytest.fixture(autouse=True)
def no_tracebacks():
    """Fail a test in which anything raised what nobody caught."""
    failures = []

    def observe(event):
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert failures == []


@ensureDeferred
async def test_an_engine_that_is_killed_makes_trouble_in_its_own_words_until_it_is_back(site):
    site.write({"ocs-a": service(), "ocs-b": service()})
    compose = await site.watch()
    await compose.up("ocs-a")
    site.engine.kill()
    await until(lambda: "Is the docker daemon running?" in compose.trouble)
    assert {name: each["running"] for name, each in compose.services.items()} == {"ocs-a": None, "ocs-b": None}
    assert compose.status[str(site.file)][0]
    with pytest.raises(DockerError, match="Is the docker daemon running"):
        await compose.up("ocs-b")
    with pytest.raises(DockerError, match="Is the docker daemon running"):
        await compose.down("ocs-a")
    site.engine.start()
    await until(lambda: not compose.trouble)
    # An engine that comes back ends what its predecessor has left.
    await until(lambda: compose.services["ocs-a"]["running"] is False)
    await compose.up("ocs-a")
    site.docker("kill", f"{site.name}-ocs-a-1")
    await until(lambda: compose.services["ocs-a"]["exit_code"] == 137)


@ensureDeferred
async def test_an_engine_that_hangs_makes_trouble_until_it_goes_on(site):
    site.write({"ocs-a": service()})
    compose = await site.watch(limits=IMPATIENT)
    await compose.up("ocs-a")
    site.engine.pause()
    await until(lambda: compose.trouble == "docker ps gave no answer within 2 s, and was killed")
    assert compose.services["ocs-a"]["running"] is None
    site.engine.resume()
    await until(lambda: not compose.trouble)
    assert compose.services["ocs-a"]["running"] is True


@ensureDeferred
async def test_a_file_that_is_replaced_again_and_again_is_known_as_it_is_at_last(site):
    site.write({"ocs-a": service()})
    compose = await site.watch()
    await compose.up("ocs-a")
    for number in range(60):
        if number % 2:
            site.write({"ocs-a": service(), f"ocs-{number}": service()})
        else:
            site.write_text("services: [" * number)
        if number % 10 == 0:
            await compose.look()
    await until(lambda: set(compose.services) == {"ocs-a", "ocs-59"})
    assert compose.status[str(site.file)][0]
    assert compose.services["ocs-a"]["running"] is True


# Programs that misbehave need no engine


def fake_docker(tmp_path: Path, body: str) -> Path:
    """A docker program that answers as told; its Compose has a version."""
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\nif [ "$1 $2" = "compose version" ]; then echo 2.99.0; exit; fi\n{body}\n')
    program.chmod(0o755)
    return program


@pytest_twisted.async_yield_fixture
async def with_docker(tmp_path):
    """A `Compose` of one service with a fake docker program."""
    made: list[Compose] = []
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {image: x}}\n")

    def make(body: str, limits: Limits = IMPATIENT) -> Compose:
        made.append(Compose(reactor, [file], docker_bin=str(fake_docker(tmp_path, body)), limits=limits))
        made[-1].start()
        return made[-1]

    yield make
    for compose in made:
        await compose.stop()


def processes_of(folder: Path) -> list[int]:
    """Those that have a folder of the test in their command line."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and any(str(folder) in word for word in process.info["cmdline"] or ())
    ]


CONFIG = """echo '{"name": "p", "services": {"a": {"image": "x"}}}'"""


@ensureDeferred
async def test_what_hangs_is_killed_with_all_it_has_started_and_never_piles_up(with_docker, tmp_path):
    limits = Limits(look=1.5, poll=0.2, files=0.1, first_pause=0.1)
    sleeper = f"{sys.executable} -c 'import time; time.sleep(600)' {tmp_path} & wait"
    compose = with_docker(f'case "$*" in *config*) {CONFIG};; *) {sleeper};; esac', limits)
    most = 0
    troubles = set()
    for _look in range(3):
        await compose.look()
        troubles.add(compose.trouble)
        most = max(most, len(processes_of(tmp_path)))
    assert troubles == {"docker ps gave no answer within 1.5 s, and was killed"}
    assert most <= 2
    await compose.stop()
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    "body",
    [
        "head -c 3000 /dev/urandom",
        "echo '{'",
        "echo 'null'; echo '[]'; echo '[[]]'; echo 3",
        'echo \'["zz","p"]\'',
        "echo >&2 'boom'; exit 9",
        "exec cat /dev/zero",
        "kill -9 $$",
        "echo '" + "[" * 5000 + "'",
    ],
)
@ensureDeferred
async def test_garbage_is_told_in_a_line_and_hurts_nothing(with_docker, body):
    compose = with_docker(f'case "$*" in *config*) {CONFIG};; *) {body};; esac', Limits(poll=600, first_pause=600))
    await compose.look()
    assert compose.trouble
    assert len(compose.trouble) < 1000
    assert compose.trouble.isprintable()
    assert compose.services["a"]["running"] is None
    with pytest.raises(DockerError):
        await compose.up("a")


@pytest.mark.parametrize("body", ["head -c 3000 /dev/urandom", "echo '[]'", "echo '{\"name\": 3}'", "sleep 600"])
@ensureDeferred
async def test_garbage_instead_of_a_configuration_is_no_mistake_of_the_file(with_docker, body):
    compose = with_docker(f'case "$*" in *config*) {body};; *) ;; esac', Limits(config=0.5, poll=600))
    await compose.look()
    assert "compose config" in compose.trouble
    assert compose.services == {}


@ensureDeferred
async def test_a_start_without_a_word_is_given_up_and_one_that_talks_is_not(with_docker):
    ps = 'case "$*" in *config*) ' + CONFIG + ';; *image*) echo \'["sha256:1",["x:latest"],[]]\';; '
    compose = with_docker(ps + "*up*) sleep 600;; esac", Limits(silence=0.5, poll=600))
    with pytest.raises(DockerError, match=r"docker compose up has said nothing for 0.5 s, and was killed"):
        await compose.up("a")
    await compose.stop()
    talks = "*up*) for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done;; esac"
    compose = with_docker(ps + talks, Limits(silence=1.0, poll=600))
    await compose.up("a")


@ensureDeferred
async def test_stopping_breaks_off_what_is_under_way_and_begins_nothing_more(with_docker, tmp_path):
    notes = tmp_path / "calls"
    sleeper = f"{sys.executable} -c 'import time; time.sleep(600)' {tmp_path} & wait"
    images = '*image*) echo \'["sha256:1",["x:latest"],[]]\';;'
    body = f'echo "$@" >>{notes}; case "$*" in *config*) {CONFIG};; *up*|events*) {sleeper};; {images} esac'
    compose = with_docker(body, Limits(poll=600))
    await compose.look()
    starting = Deferred.fromCoroutine(compose.up("a"))
    await until(lambda: " up " in notes.read_text() and "events " in notes.read_text())
    under_way = notes.read_text()
    await compose.stop()
    with pytest.raises(DockerError, match="docker compose up was broken off"):
        await starting
    assert notes.read_text() == under_way
    assert processes_of(tmp_path) == []
    compose.start()
    await compose.look()
    assert compose.trouble == ""
