"""Compose services on a real docker engine."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from ocs.agents.host_manager.docker import Compose, DockerContainerHelper, parse_docker_state
from ocs.errors import ComposeFileError, DockerError
from tests.harness.compose_site import ComposeSite, service, until
from tests.harness.docker_engine import IMAGE, busybox_archive
from tests.harness.registry import Registry

DOCUMENTED = {
    "compose_file",
    "service",
    "image_tag",
    "image_id",
    "container_found",
    "container_id",
    "running",
    "running_image",
    "exit_code",
}


@pytest_twisted.async_yield_fixture
async def site(tmp_path, docker_engine, monkeypatch):
    for name, value in docker_engine.env.items():
        monkeypatch.setenv(name, value)
    made = ComposeSite(tmp_path, docker_engine)
    yield made
    await made.close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    running = Registry()
    yield running
    running.close()


@pytest.fixture
def counting_docker(tmp_path, monkeypatch) -> Path:
    """A docker program that keeps a note of each call, beside it."""
    program, notes = tmp_path / "bin" / "docker", tmp_path / "bin" / "calls"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{notes}\nexec {shutil.which("docker")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return notes


def calls(notes: Path, *words: str) -> list[str]:
    """The calls that have all these words, but for that which follows the events."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [line for line in lines if all(word in line.split() for word in words) and not line.startswith("events")]


# What parse_docker_state documents


@ensureDeferred
async def test_a_service_without_a_container_is_told_of_in_full(site):
    site.write({"ocs-a": service()})
    services, orphans = await parse_docker_state(site.file)
    assert orphans == {}
    assert services["ocs-a"].keys() >= DOCUMENTED
    told = {key: services["ocs-a"][key] for key in DOCUMENTED - {"image_id"}}
    assert told == {
        "compose_file": str(site.file),
        "service": "ocs-a",
        "image_tag": IMAGE,
        "container_found": False,
        "container_id": None,
        "running": False,
        "running_image": None,
        "exit_code": 127,
    }
    assert services["ocs-a"]["image_id"] == site.docker("image", "inspect", "--format", "{{.ID}}", IMAGE)


@ensureDeferred
async def test_a_broken_file_fails_with_file_and_line(site):
    site.write_text("services:\n  ocs-a:\n    image: [\n")
    with pytest.raises(ComposeFileError, match=rf"{site.file}:\d+:\d+: "):
        await parse_docker_state(site.file)


@ensureDeferred
async def test_a_helper_starts_and_stops_its_service_by_itself(site):
    site.write({"ocs-a": service()})
    services, _orphans = await parse_docker_state(site.file)
    helper = DockerContainerHelper(services["ocs-a"])
    assert helper.status[0] is False
    helper.up()
    await until(lambda: helper.status[0] and not helper.busy)
    assert site.containers() == {"ocs-a-1": "running"}
    helper.update({**services["ocs-a"], "running": False, "exit_code": 3})
    assert helper.status == (False, 3)
    helper.down()
    await until(lambda: not helper.busy)
    assert site.containers() == {}


# Up and down


@ensureDeferred
async def test_up_starts_just_the_service_and_down_removes_its_container(site):
    site.write({"ocs-a": service(depends_on=["ocs-b"]), "ocs-b": service()})
    compose = await site.watch()
    await compose.up("ocs-a")
    assert compose.services["ocs-a"]["running"] is True
    assert compose.services["ocs-a"]["running_image"] == compose.services["ocs-a"]["image_id"]
    assert site.containers() == {"ocs-a-1": "running"}
    await compose.down("ocs-a")
    assert compose.services["ocs-a"]["container_found"] is False
    assert site.containers() == {}


@ensureDeferred
async def test_many_services_cost_no_more_calls_than_one(site, counting_docker):
    names = [f"ocs-{number}" for number in range(12)]
    site.write({name: service() for name in names})
    compose = await site.watch()
    ups = [Deferred.fromCoroutine(compose.up(name)) for name in names]
    for up in ups:
        await up
    assert all(compose.services[name]["running"] for name in names)
    assert len(calls(counting_docker, "up")) == 1
    before = len(calls(counting_docker))
    await compose.look()
    asked = calls(counting_docker)[before:]
    assert sorted(line.split()[0] for line in asked) == ["container", "image", "ps"]
    downs = [Deferred.fromCoroutine(compose.down(name)) for name in names]
    for down in downs:
        await down
    assert len(calls(counting_docker, "stop")) == 1
    assert site.containers() == {}


@ensureDeferred
async def test_one_that_cannot_start_keeps_no_other_from_starting(site):
    site.write({"ocs-bad": service(volumes=["/proc/nowhere:/x"]), "ocs-a": service(), "ocs-b": service()})
    compose = await site.watch()
    ups = {name: Deferred.fromCoroutine(compose.up(name)) for name in compose.services}
    with pytest.raises(DockerError, match="/proc/nowhere"):
        await ups["ocs-bad"]
    await ups["ocs-a"]
    await ups["ocs-b"]
    assert {name for name, each in compose.services.items() if each["running"]} == {"ocs-a", "ocs-b"}


@ensureDeferred
async def test_restart_makes_the_container_as_the_file_says_now(site):
    site.write({"ocs-a": service("echo first; sleep 1000")})
    compose = await site.watch()
    await compose.up("ocs-a")
    await until_printed(compose, "first")
    site.write({"ocs-a": service("echo second; sleep 1000")})
    await compose.restart("ocs-a")
    await until_printed(compose, "second")


@ensureDeferred
async def test_what_no_file_describes_is_refused_by_name(site):
    site.write({"ocs-a": service()})
    compose = await site.watch()
    with pytest.raises(DockerError, match="No compose file describes a service ocs-z"):
        await compose.up("ocs-z")


@ensureDeferred
async def test_names_that_look_like_options_are_names(site):
    names = ["-f", "--help", "a.b_c-1"]
    site.write({name: service(container_name=f"{site.name}-{number}") for number, name in enumerate(names)})
    compose = await site.watch()
    for name in names:
        await compose.up(name)
    assert all(compose.services[name]["running"] for name in names)
    assert len(site.containers()) == 3
    for name in names:
        await compose.down(name)
    assert site.containers() == {}


# Watching


@ensureDeferred
async def test_an_end_is_seen_by_its_event_with_its_exit_code(site):
    site.write({"ocs-a": service("sleep 0.5; exit 3"), "ocs-b": service()})
    compose = await site.watch()
    await compose.up("ocs-b")
    await compose.up("ocs-a")
    await until(lambda: compose.services["ocs-a"]["state"] == "exited")
    assert compose.services["ocs-a"]["running"] is False
    assert compose.services["ocs-a"]["exit_code"] == 3
    site.docker("kill", f"{site.name}-ocs-b-1")
    await until(lambda: compose.services["ocs-b"]["exit_code"] == 137)


@ensureDeferred
async def test_what_others_do_to_a_container_is_seen(site):
    site.write({"ocs-a": service(healthcheck={"test": "true", "interval": "0.2s", "timeout": "2s"})})
    compose = await site.watch()
    site.engine.compose(site.file, "create")
    await until(lambda: compose.services["ocs-a"]["state"] == "created")
    assert compose.services["ocs-a"]["running"] is False
    site.engine.compose(site.file, "start")
    await until(lambda: compose.services["ocs-a"]["health"] == "healthy")
    site.docker("pause", f"{site.name}-ocs-a-1")
    await until(lambda: compose.services["ocs-a"]["state"] == "paused")
    assert compose.services["ocs-a"]["running"] is True
    await compose.down("ocs-a")
    assert site.containers() == {}


@ensureDeferred
async def test_changes_are_told_and_nothing_else_is(site):
    site.write({"ocs-a": service()})
    compose = await site.watch()
    before = site.changes
    await compose.look()
    assert site.changes == before
    await compose.up("ocs-a")
    assert site.changes > before


@ensureDeferred
async def test_it_can_be_stopped_and_started_again(site):
    site.write({"ocs-a": service()})
    compose = await site.watch()
    await compose.stop()
    compose.start()
    await compose.up("ocs-a")
    site.docker("kill", f"{site.name}-ocs-a-1")
    await until(lambda: compose.services["ocs-a"]["exit_code"] == 137)


# Files


@ensureDeferred
async def test_of_a_broken_file_the_last_good_reading_stays_in_force(site):
    good = {"ocs-a": service("sleep 0.5; exit 1"), "ocs-b": service()}
    site.write(good)
    compose = await site.watch()
    await compose.up("ocs-a")
    site.write_text("services:\n  ocs-a:\n   image: x\n  - b\n")
    await until(lambda: not compose.status[str(site.file)][0])
    assert compose.status[str(site.file)][2].startswith(f"{site.file}:4:")
    assert set(compose.services) == {"ocs-a", "ocs-b"}
    await until(lambda: compose.services["ocs-a"]["state"] == "exited")
    await compose.up("ocs-a")
    with pytest.raises(DockerError, match=f"{site.file}:4:"):
        await compose.up("ocs-b")
    await compose.down("ocs-a")
    site.write({**good, "ocs-c": service()})
    await until(lambda: compose.status[str(site.file)][0])
    assert set(compose.services) == {"ocs-a", "ocs-b", "ocs-c"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services:\n  ocs-a:\n    imagee: x\n", r":3: .*imagee"),
        ("services:\n  ocs-a:\n    image: x\n    networks: [nowhere]\n", r":2: .*nowhere"),
        ("services:\n  ocs-a: {}\n", r":2: .*neither an image nor a build"),
        ("services:\n  a: {image: x}\n  a: {image: y}\n", r":3:3: "),
        ("services: [\n", r":\d+:\d+: "),
        ("hello", r": .*"),
        ("services:\n  a: {image: x, env_file: gone.env}\n", r": .*gone.env"),
        ("services:\n  a: {image: '${X:?must be set}'}\n", r":2: .*must be set"),
        ("\x00", r":1:1: "),
    ],
)
@ensureDeferred
async def test_a_mistake_is_told_with_its_place(site, text, message):
    site.write_text(text)
    compose = await site.watch()
    ok, _time, said = compose.status[str(site.file)]
    assert not ok
    assert said.startswith(str(site.file))
    assert "\n" not in said
    assert re.match(message, said.removeprefix(str(site.file))), said
    assert compose.trouble == ""


@ensureDeferred
async def test_a_file_that_is_not_there_is_taken_up_when_it_comes(site):
    compose = await site.watch()
    assert compose.status[str(site.file)][2] == f"{site.file}: there is no such file"
    site.write({"ocs-a": service()})
    await until(lambda: "ocs-a" in compose.services)


@ensureDeferred
async def test_all_of_compose_s_language_is_understood(site):
    site.write_text(f"services:\n  base: {{image: {IMAGE}, network_mode: none}}\n", "base.yaml")
    site.write_text(f"services:\n  included: {{image: {IMAGE}, network_mode: none}}\n", "more.yaml")
    site.write_text("SECRET=1\n", "agent.env")
    site.write_text("TAG=1\n", ".env")
    site.write_text(f"""
include: [more.yaml]
x-common: &common
  network_mode: none
  env_file: agent.env
services:
  extended: {{extends: {{file: base.yaml, service: base}}}}
  anchored:
    <<: *common
    image: {IMAGE.partition(":")[0]}:${{TAG}}
  asleep: {{image: {IMAGE}, network_mode: none, profiles: [night], command: [sleep, "1000"]}}
""")
    compose = await site.watch()
    assert set(compose.services) == {"extended", "anchored", "asleep", "included"}
    assert {each["image_tag"] for each in compose.services.values()} == {IMAGE}
    await compose.up("asleep")
    assert compose.services["asleep"]["running"]
    assert compose.orphans == {}
    site.write_text("services: [\n", "more.yaml")
    await until(lambda: not compose.status[str(site.file)][0])
    site.write_text("TAG=2\n", ".env")
    site.write_text("services: {}\n", "more.yaml")
    await until(lambda: compose.services["anchored"]["image_tag"].endswith(":2"))


@ensureDeferred
async def test_of_two_files_the_first_counts_and_the_other_is_told_off(site):
    site.write({"ocs-a": service("echo first; sleep 1000"), "ocs-b": service()})
    other = site.write({"ocs-a": service("echo other; sleep 1000"), "ocs-c": service()}, "other.yaml")
    compose = await site.watch(site.file, other)
    assert compose.services["ocs-a"]["compose_file"] == str(site.file)
    assert compose.status[str(site.file)][0]
    assert not compose.status[str(other)][0]
    assert f"ocs-a is in {site.file} too" in compose.status[str(other)][2]
    await compose.up("ocs-a")
    await compose.up("ocs-c")
    await until_printed(compose, "first")
    assert compose.orphans == {}


# Orphans and what is somebody else's


@ensureDeferred
async def test_orphans_are_shown_and_removed_and_nothing_else_is(site, tmp_path):
    stranger = ComposeSite(tmp_path, site.engine)
    stranger.write({"ocs-gone": service(), "ocs-a": service()})
    stranger.engine.compose(stranger.file, "up", "--detach")
    neighbour = site.write({"neighbour": service()}, "not-ours.yaml")
    site.engine.compose(neighbour, "up", "--detach")
    site.write({"ocs-a": service(), "ocs-gone": service()})
    site.engine.compose(site.file, "up", "--detach")
    site.engine.compose(site.file, "run", "--detach", "ocs-gone")
    compose = await site.watch()
    assert compose.orphans == {}
    site.write({"ocs-a": service()})
    ((container, orphan),) = (await until(lambda: compose.orphans)).items()
    assert orphan["service"] == "ocs-gone"
    assert orphan["running"] is True
    assert orphan["compose_file"] == str(site.file)
    assert orphan["container_id"] == container
    said: list[str] = []
    await compose.remove_orphans(1.0, said.append)
    assert compose.orphans == {}
    assert f"{site.name}-ocs-gone-1" in said[0]
    left = site.containers()
    assert len(left) == 3
    assert left["ocs-a-1"] == left["neighbour-1"] == "running"
    assert set(stranger.containers().values()) == {"running"}
    await stranger.close()


@ensureDeferred
async def test_containers_of_the_old_compose_are_known(site):
    labels = {"project": site.name, "service": "ocs-a", "container-number": "1", "oneoff": "False"}
    options = [f"--label=com.docker.compose.{key}={value}" for key, value in labels.items()]
    site.docker("run", "--detach", "--stop-timeout=1", f"--name={site.name}_ocs-a_1", *options, IMAGE, "sleep", "1000")
    site.write({"ocs-a": service()})
    compose = await site.watch()
    assert compose.services["ocs-a"]["running"] is True
    await compose.down("ocs-a")
    assert site.containers() == {}


@ensureDeferred
async def test_containers_with_hostile_labels_do_no_harm(site):
    fake = f"x,com.docker.compose.project={site.name}"
    evil = "\x1b[31m\n,]\"}'" + "x" * 5000
    options = ["--label", f"com.docker.compose.project={fake}", "--label", "com.docker.compose.service=ocs-a"]
    stranger = site.docker("create", *options, IMAGE, "true")
    options = [
        f"--label=com.docker.compose.project={site.name}",
        f"--label=com.docker.compose.service={evil}",
        "--label=com.docker.compose.container-number=many",
    ]
    orphan = site.docker("create", *options, IMAGE, "true")
    site.write({"ocs-a": service()})
    compose = await site.watch()
    assert compose.trouble == ""
    assert compose.services["ocs-a"]["container_found"] is False
    assert set(compose.orphans) == {orphan}
    assert len(compose.orphans[orphan]["service"]) <= 200
    assert compose.orphans[orphan]["service"].isprintable()
    site.docker("rm", stranger)


# Images


@ensureDeferred
async def test_a_newer_image_of_the_same_tag_is_seen(site):
    name = f"{site.name}:1"
    first = site.engine.add_image(name, note="first")
    site.write({"ocs-a": service(image=name)})
    compose = await site.watch()
    await compose.up("ocs-a")
    second = site.engine.add_image(name, note="second")
    await until(lambda: compose.services["ocs-a"]["image_id"] == second)
    assert compose.services["ocs-a"]["running_image"] == first
    await compose.restart("ocs-a")
    assert compose.services["ocs-a"]["running_image"] == second
    await compose.down("ocs-a")
    site.docker("image", "rm", name)
    await until(lambda: compose.new_tags == {"ocs-a": name})
    assert compose.services["ocs-a"]["image_id"] == "unknown"


@ensureDeferred
async def test_what_is_built_here_is_no_new_tag_and_is_built_when_it_starts(site):
    site.write_text(f'FROM {IMAGE}\nENV BUILT=1\nCMD ["sleep", "1000"]\n', "Dockerfile")
    site.write({"ocs-a": {"build": ".", "network_mode": "none", "stop_grace_period": "1s"}})
    compose = await site.watch()
    assert compose.services["ocs-a"]["image_tag"] == f"{site.name}-ocs-a"
    assert compose.new_tags == {}
    await compose.up("ocs-a")
    assert compose.services["ocs-a"]["running"] is True
    assert compose.services["ocs-a"]["image_id"] == compose.services["ocs-a"]["running_image"]


@ensureDeferred
async def test_images_are_fetched_with_progress_and_one_failure_does_not_stop_the_rest(site, registry):
    good = registry.add("agents/good:1", busybox_archive("good"))
    missing = f"{registry.host}/agents/missing:1"
    site.write({"ocs-bad": service(image=missing), "ocs-good": service(image=good), "ocs-here": service(image=good)})
    compose = await site.watch()
    assert compose.new_tags == {"ocs-bad": missing, "ocs-good": good, "ocs-here": good}
    said: list[str] = []
    with pytest.raises(DockerError, match=r"ocs-bad: .*manifest unknown"):
        await compose.pull(said.append)
    assert compose.new_tags == {"ocs-bad": missing}
    assert any("Pulled" in line for line in said)


@ensureDeferred
async def test_a_start_fetches_the_image_that_is_missing(site, registry):
    name = registry.add("agents/new:1", busybox_archive("new"))
    site.write({"ocs-a": service(image=name), "ocs-b": service(image="127.0.0.1:1/nobody/there:1")})
    compose = await site.watch()
    await compose.up("ocs-a")
    assert compose.services["ocs-a"]["running"] is True
    with pytest.raises(DockerError, match="connection refused"):
        await compose.up("ocs-b")


@pytest.mark.parametrize("image", ["Not A Name", "UPPER/case:1", "-v", "a:b:c", "x" * 300])
@ensureDeferred
async def test_an_image_s_name_that_is_none_concerns_only_its_own_service(site, image):
    site.write({"ocs-bad": service(image=image), "ocs-a": service()})
    compose = await site.watch()
    if compose.status[str(site.file)][0]:
        assert compose.trouble == ""
        await compose.up("ocs-a")
        with pytest.raises(DockerError):
            await compose.up("ocs-bad")


# Output


@ensureDeferred
async def test_both_outputs_come_in_the_order_of_time(site):
    script = "for i in 1 2 3; do echo out $i; sleep 0.01; echo err $i >&2; sleep 0.01; done; sleep 1000"
    site.write({"ocs-a": service(script)})
    compose = await site.watch()
    await compose.up("ocs-a")
    await until_printed(compose, "err 3")
    assert await compose.logs("ocs-a", 50) == ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3"]
    assert await compose.logs("ocs-a", 2) == ["out 3", "err 3"]
    await compose.down("ocs-a")
    with pytest.raises(DockerError, match="ocs-a has no container"):
        await compose.logs("ocs-a", 2)


@ensureDeferred
async def test_with_nothing_to_fetch_or_to_remove_that_is_said(site):
    site.write_text(f"FROM {IMAGE}\n", "Dockerfile")
    site.write({"ocs-a": {"build": "."}})
    compose = await site.watch()
    said: list[str] = []
    await compose.pull(said.append)
    await compose.remove_orphans(1.0, said.append)
    assert said == [f"{site.file}: all images are built here", "There are no orphans."]


@ensureDeferred
async def test_images_are_fetched_once_at_a_time(site):
    site.write({"ocs-a": service(image="127.0.0.1:1/nobody/there:1")})
    compose = await site.watch()
    first = Deferred.fromCoroutine(compose.pull(lambda _line: None))
    with pytest.raises(DockerError, match="already"):
        await compose.pull(lambda _line: None)
    with pytest.raises(DockerError, match="connection refused"):
        await first


# The programs


@ensureDeferred
async def test_the_stand_alone_program_works_as_the_plugin_does(site, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(site.folder))
    monkeypatch.chdir(site.engine.compose_bin.parent)
    site.write({"ocs-a": service()})
    compose = await site.watch(compose_bin=site.engine.compose_bin.name)
    await compose.up("ocs-a")
    assert compose.services["ocs-a"]["running"] is True
    assert compose.trouble == ""


@ensureDeferred
async def test_the_stand_alone_program_is_found_in_path(site, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(site.folder))
    monkeypatch.setenv("PATH", f"{site.engine.compose_bin.parent}:{os.environ['PATH']}")
    site.write({"ocs-a": service()})
    compose = await site.watch()
    await compose.up("ocs-a")
    assert compose.trouble == ""


@ensureDeferred
async def test_without_compose_files_are_read_and_containers_watched(site, monkeypatch):
    site.write({"ocs-a": service()})
    site.engine.compose(site.file, "up", "--detach")
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(site.folder))
        patch.setenv("PATH", without_compose(site.folder))
        compose = await site.watch()
    assert "No Docker Compose (version 2) works here: docker compose: " in compose.trouble
    assert compose.services["ocs-a"]["running"] is True
    site.docker("kill", f"{site.name}-ocs-a-1")
    await until(lambda: compose.services["ocs-a"]["exit_code"] == 137)
    await compose.up("ocs-a")
    await compose.down("ocs-a")
    with pytest.raises(DockerError, match="No Docker Compose"):
        await compose.up("ocs-a")
    site.write_text("services:\n  a: [\n")
    await until(lambda: f"{site.file}:" in compose.status[str(site.file)][2])


@ensureDeferred
async def test_a_program_that_is_too_old_or_none_at_all_is_told(site):
    site.write({"ocs-a": service()})
    old = site.folder / "docker-compose"
    old.write_text("#!/bin/sh\necho 1.29.2\n")
    old.chmod(0o755)
    compose = await site.watch(compose_bin=str(old))
    assert compose.trouble.endswith("docker-compose is version 1.29.2, too old")
    compose = await site.watch(compose_bin=str(site.folder / "nothing"))
    assert "nothing" in compose.trouble
    compose = await site.watch(docker_bin="no-such-docker")
    assert compose.trouble == "There is no program no-such-docker here: install Docker (Debian: docker.io)"
    assert compose.services["ocs-a"]["running"] is None


def without_compose(folder: Path) -> str:
    """A PATH in which docker is the only program of its kind."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("docker", "setsid"):
        (programs / name).symlink_to(shutil.which(name))
    return str(programs)


async def until_printed(compose: Compose, line: str) -> None:
    for _attempt in range(200):
        if line in await compose.logs("ocs-a", 50):
            return
    pytest.fail(f"never printed: {line}")
