"""What docker and compose print, in words and in garbage."""

import json
import string
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.host_manager.docker import answers
from ocs.errors import DockerError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PRINTED = st.one_of(
    st.text(),
    st.lists(JSON, max_size=4).map(lambda values: "\n".join(map(json.dumps, values))),
)
ID = "0123456789ab" * 5

PARSERS = [
    lambda text: answers.parse_list(text, ["site"]),
    answers.parse_containers,
    lambda text: answers.parse_images(text, ["x:1"]),
    lambda text: answers.parse_project(text, text, Path("/site/compose.yaml")),
]

INSPECTED = {
    "id": ID,
    "name": "/site-ocs-a-1",
    "image": "sha256:12",
    "labels": {
        "com.docker.compose.project": "site",
        "com.docker.compose.service": "ocs-a",
        "com.docker.compose.container-number": "2",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.project.config_files": "/site/a.yaml,/site/b.yaml",
    },
    "stop_timeout": None,
    "state": "exited",
    "running": False,
    "exit_code": 3,
    "pid": 0,
    "started": "2026-11-22T23:46:01.123456789Z",
    "finished": "0001-01-01T00:00:00Z",
    "health": "",
}


@contextmanager
def suppress_clear_errors():
    """Let pass what is told in one short line, and nothing else."""
    text = ""
    try:
        yield
    except DockerError as error:
        text = str(error)
    assert text.isprintable()
    assert len(text) < 300


@given(parse=st.sampled_from(PARSERS), text=PRINTED)
def test_garbage_is_an_error_in_one_line_or_nothing(parse, text):
    with suppress_clear_errors():
        parse(text)


@given(PRINTED)
def test_any_line_of_events_is_taken(line):
    assert answers.concerns(line, ["site"]) in (True, False)


@given(PRINTED)
def test_any_version_is_taken(text):
    assert answers.parse_version(text) is None or all(number >= 0 for number in answers.parse_version(text))


@given(st.dictionaries(st.sampled_from(sorted(INSPECTED)), JSON), JSON)
def test_a_container_with_any_one_thing_wrong_is_an_error_or_sound(wrong, labels):
    value = {**INSPECTED, "labels": labels, **wrong}
    try:
        (container,) = answers.parse_containers(json.dumps(value))
    except DockerError:
        return
    assert answers.is_container_id(container.id)
    assert isinstance(container.exit_code, int)
    assert container.stop_timeout >= 0


def test_a_container_as_docker_tells_it():
    (found,) = answers.parse_containers(json.dumps(INSPECTED))
    assert (found.id, found.name, found.project, found.service, found.number) == (
        ID,
        "site-ocs-a-1",
        "site",
        "ocs-a",
        2,
    )
    assert found.config_files == ("/site/a.yaml", "/site/b.yaml")
    assert (found.state, found.running, found.exit_code, found.one_off) == ("exited", False, 3, False)
    assert found.stop_timeout == answers.DEFAULT_STOP_TIMEOUT
    assert (found.pid, found.started, found.finished) == (None, 1795391161.123456, None)


def test_only_the_containers_of_the_projects_are_listed():
    lines = [
        json.dumps([f"{number:012x}", project]) for number, project in enumerate(["site", "other", "site,x", None])
    ]
    assert answers.parse_list("\n".join(lines), ["site"]) == ["000000000000"]


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("simonsobs/ocs:v1", "docker.io/simonsobs/ocs:v1"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a/b:2", "localhost:5000/a/b:2"),
        ("a/b:2@sha256:12", "docker.io/a/b@sha256:12"),
        ("a/b@sha256:12", "docker.io/a/b@sha256:12"),
    ],
)
def test_a_short_name_means_the_full_one(short, full):
    assert answers.full_name(short) == full
    assert answers.full_name(full) == full


@given(st.text(alphabet=string.ascii_lowercase + "/:.@-", max_size=40))
def test_any_name_has_one_full_form(name):
    full = answers.full_name(name)
    assert answers.full_name(full) == full


def test_images_are_found_by_tag_digest_and_id():
    image = "sha256:" + "ab" * 32
    printed = json.dumps([image, ["ocs:1", "127.0.0.1:5000/ocs:1"], ["ocs@sha256:99"]])
    names = ["ocs:1", "docker.io/library/ocs:1", "127.0.0.1:5000/ocs:1", "ocs@sha256:99", image, "ab" * 6, "ocs:2"]
    assert answers.parse_images(printed, names) == dict.fromkeys(names[:-1], image)


def test_an_image_that_the_file_does_not_name_has_the_name_that_compose_gives_it():
    config = {"name": "site", "services": {"a": {"build": "."}, "b": {"image": "x", "build": "."}, "c": {"image": "x"}}}
    project = answers.parse_project(json.dumps(config), "", Path("/site/compose.yaml"))
    assert {name: (each.image, each.pulled) for name, each in project.services.items()} == {
        "a": ("site-a", False),
        "b": ("x", False),
        "c": ("x", True),
    }


def test_what_compose_warns_of_is_kept():
    warned = 'time="2026-11-22T23:52:24Z" level=warning msg="The \\"TAG\\" variable is not set."\n'
    project = answers.parse_project('{"name": "p"}', warned * 2, Path("/compose.yaml"))
    assert project.warnings == ('The "TAG" variable is not set.',)


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        ({"Type": "container", "Actor": {"Attributes": {"com.docker.compose.project": "site"}}}, True),
        ({"Type": "container", "Actor": {"Attributes": {"com.docker.compose.project": "other"}}}, False),
        ({"Type": "container", "Actor": {"Attributes": {}}}, False),
        ({"Type": "image", "Actor": {"Attributes": {"name": "x"}}}, True),
    ],
)
def test_events_of_other_projects_concern_nobody_here(event, wanted):
    assert answers.concerns(json.dumps(event), ["site"]) is wanted


@pytest.mark.parametrize(
    ("errors", "missing"),
    [
        ("Error: No such object: 12\n", True),
        ("Error response from daemon: no such image: x: No such image: x:latest\nError: No such image: y\n", True),
        ("Error: No such object: 12\nCannot connect to the Docker daemon\n", False),
        ("", False),
    ],
)
def test_what_is_missing_is_told_from_what_is_wrong(errors, missing):
    assert answers.only_missing(errors) is missing


@pytest.mark.parametrize(
    ("text", "version"),
    [("2.40.3\n", (2, 40)), ("v2.29.1-desktop.1", (2, 29)), ("1.29.2", (1, 29)), ("docker 2.1", None), ("", None)],
)
def test_a_version_is_read(text, version):
    assert answers.parse_version(text) == version
