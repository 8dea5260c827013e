"""Compose files on the disk."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.agents.host_manager.docker.files import explain, read_plainly, references, signature
from ocs.errors import ComposeFileError


@pytest.fixture
def file(tmp_path) -> Path:
    folder = tmp_path / "My.Site"
    folder.mkdir()
    return folder / "compose.yaml"


def test_services_are_read_without_compose(file):
    file.write_text("services:\n  a: &a {image: x}\n  b: {<<: *a, image: 'y:${TAG}'}\n  c: {build: .}\n")
    project = read_plainly(file, {})
    assert project.name == "mysite"
    found = {name: (each.image, each.pulled) for name, each in project.services.items()}
    assert found == {"a": ("x", True), "b": ("y:${TAG}", False), "c": ("mysite-c", False)}


def test_the_project_s_name_is_the_file_s_or_the_environment_s(file):
    file.write_text("services: {}\n")
    assert read_plainly(file, {"COMPOSE_PROJECT_NAME": "env"}).name == "env"
    file.write_text("name: own\nservices: {}\n")
    assert read_plainly(file, {"COMPOSE_PROJECT_NAME": "env"}).name == "own"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("services:\n  a: [\n", ":3:1: "),
        ("services:\n\ta: {}\n", ":2:1: "),
        ("services:\n  a: 3\n", ":2: service a is no mapping"),
        ("version: '3'\n", ":1: describes no services"),
        ("services: {}\nservices: {}\n", ":2:1: "),
        ("- a\n", ":1: describes no services"),
        ("", ":1: describes no services"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(file, text, place):
    file.write_text(text)
    with pytest.raises(ComposeFileError) as raised:
        read_plainly(file)
    assert str(raised.value).startswith(f"{file}{place}")


def test_a_file_that_is_not_there_is_said_to_be_missing(file):
    with pytest.raises(ComposeFileError, match="there is no such file"):
        read_plainly(file)


@given(st.binary())
@settings(max_examples=50)
def test_any_bytes_are_a_project_or_an_error_with_the_file(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with suppress(ComposeFileError):
        assert read_plainly(path).file == path
    assert str(path) in explain(path, "boom")
    assert path in references(path)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("services.a.b.ports.0 must be a string: invalid compose project", ":4: services.a.b.ports.0 must be a string"),
        ('service "a" has neither an image nor a build context', ':2: service "a" has neither'),
        ("validating {file}: services.a additional properties 'imagee' not allowed", ":2: services.a additional"),
        ("no place in this", ": no place in this"),
    ],
)
def test_what_compose_complains_of_is_given_its_line(file, said, told):
    file.write_text("services:\n  a: {}\n  a.b:\n    ports: [1]\n")
    assert explain(file, said.format(file=file)).startswith(f"{file}{told}")


def test_what_is_read_with_a_file_is_known(file):
    folder = file.parent
    (folder / "more.yaml").write_text("include: [deeper.yaml, compose.yaml]\nservices: {}\n")
    file.write_text(
        "include:\n  - more.yaml\n  - path: [other.yaml]\n"
        "services:\n"
        "  a: {extends: {file: base.yaml, service: x}, env_file: a.env}\n"
        "  b: {env_file: [b.env, {path: c.env, required: false}], extends: {service: a}}\n"
        "  c: {env_file: '${HOME}/d.env'}\n"
        "  d:\n"
    )
    names = {path.name for path in references(file)}
    assert names == {
        *("compose.yaml", ".env", "more.yaml", "deeper.yaml", "other.yaml", "base.yaml", "a.env", "b.env", "c.env"),
    }


def test_a_signature_changes_with_the_file(file):
    seen = [signature((file,))]
    file.write_text("a")
    seen.append(signature((file,)))
    file.write_text("ab")
    seen.append(signature((file,)))
    other = file.with_name("other")
    other.write_text("ab")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    seen.append(signature((file,)))
    assert len(set(seen)) == 4
    assert signature((file,)) == seen[-1]


def test_a_name_that_no_file_can_have_is_no_error():
    assert signature((Path("/nowhere/\0"),))
