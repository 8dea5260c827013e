"""Compose files and the site file: a service for each instance, and the other way round."""

import pytest

from ocs.inspection.check import check_file
from ocs.inspection.compose import services_of

SITE = """\
hub: {wamp_server: "ws://h:1/ws", wamp_http: "http://h:1/call", wamp_realm: r, address_root: o}
hosts:
  localhost:
    agent-instances:
    - {agent-class: HostManager, instance-id: hm, arguments: [--docker-compose, "compose.yaml", MORE]}
    - {agent-class: FakeDataAgent, instance-id: fake-1, manage: docker}
"""

COMPOSE = "services:\n  ocs-fake-1: {image: ocs}\n  crossbar: {image: crossbar}\n"


@pytest.fixture
def found(tmp_path):
    """Return what is found, with the compose files given; the first argument stands in place of MORE."""

    def found(more="--quiet", site=SITE, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        path = tmp_path / "site.yaml"
        path.write_text(site.replace("MORE", more))
        report = check_file(str(path), working_dir=str(tmp_path))
        return [str(one).replace(f"{tmp_path}/", "") for one in report.problems]

    return found


def test_a_service_for_each_instance_is_as_it_should_be(found):
    assert found(compose=COMPOSE) == []


@pytest.mark.parametrize(
    ("compose", "told"),
    [
        ("services: {ocs-fake1: {}}", "site.yaml:6: error: fake-1 is to run in docker, and no compose file has the"),
        ("services: {ocs-fake1: {}}", "the service ocs-fake-1; did you mean ocs-fake1?"),
        ("services: {db: {}}", "no compose file has the service ocs-fake-1; there are: db"),
        ("", "there are: none"),
        ("services: [", "site.yaml:5: error: compose.yaml:2:1: did not find"),
        (COMPOSE + "  ocs-other: {}\n", "compose.yaml:4: warning: the service ocs-other belongs to no"),
    ],
)
def test_what_is_missing_or_too_many(found, compose, told):
    assert any(line.startswith(told) or told in line for line in found(compose=compose))


def test_a_compose_file_that_is_not_there(found):
    [line] = found()
    assert line == "site.yaml:5: error: the compose file compose.yaml is not there"


def test_a_compose_file_beside_the_site_file_is_what_systemd_would_take(tmp_path, monkeypatch):
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "site.yaml").write_text(SITE.replace("MORE", "--quiet"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    [found] = check_file(str(tmp_path / "site.yaml")).problems
    assert found.level == "note"
    assert f"a HostManager that runs in {tmp_path} finds it there" in found.message
    [found] = check_file(str(tmp_path / "site.yaml"), working_dir=str(tmp_path / "other")).problems
    assert found.level == "error"


def test_the_managers_own_working_dir_counts(tmp_path):
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "site.yaml").write_text(SITE.replace("MORE", f"--working-dir, {tmp_path}"))
    assert check_file(str(tmp_path / "site.yaml"), working_dir="/").problems == []


def test_an_instance_that_the_host_runs_must_not_have_a_service_as_well(found):
    [line] = found(site=SITE.replace("manage: docker", "manage: up"), compose=COMPOSE)
    assert "fake-1 is run by the host (manage: host/up), and the service ocs-fake-1 in compose.yaml:2 would" in line


def test_the_prefix_of_services_is_the_managers(found):
    assert found("--docker-service-prefix, lab.", compose="services: {lab.fake-1: {}}") == []


def test_several_files_share_the_services_and_none_is_in_two(found):
    site = SITE.replace('"compose.yaml"', '"compose.yaml, second.yaml"')
    assert found(site=site, compose="services: {db: {}}", second=COMPOSE) == []
    [line] = found(site=site, compose=COMPOSE, second=COMPOSE.partition("  crossbar")[0])
    assert line.startswith("second.yaml:2: error: the service ocs-fake-1 is in compose.yaml already")


def test_included_files_count(found):
    include = "include: [one.yaml, {path: [two.yaml]}, compose.yaml]\n"
    assert found(compose=include, one="services: {db: {}}", two=COMPOSE) == []


def test_whatever_compose_knows_may_stand_in_its_file(tmp_path):
    text = "x-a: &a {b: !reset null}\nservices:\n  <<: *a\n  one: {ports: !override []}\n  two: *a\n"
    (tmp_path / "compose.yaml").write_text(text)
    assert [(one.name, one.line) for one in services_of(tmp_path / "compose.yaml")] == [("one", 4), ("two", 5)]
