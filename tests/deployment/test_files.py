"""What the images, the compose files and the site files say of each other is true, without any engine."""

import fnmatch
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import ocs
from ocs.agents.watcher.rules_file import read_rules
from ocs.site_config import SiteConfig

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
MANAGED = ROOT / "site-config" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
INFRASTRUCTURE = {"router", "crossbar", "influxdb", "prometheus", "grafana"}  # services that are no agents
FEEDERS = {"ocs-influxdb", "ocs-exporter"}  # agents of no use without the databases
COMPOSES_OWN = {"COMPOSE_PROFILES"}  # read from the .env by Compose itself
OURS = ("ocs-agent", "ocs-recorder", "ocs-router")


def read_env(path=DOCKER / ".env"):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def services(path):
    return yaml.safe_load(path.read_text())["services"]


def image_of(service):
    """Return an image's name and tag, with the variables of the .env filled in, and its defaults."""
    filled = re.sub(r"\$\{(\w+)(?::-[^}]*)?\}", lambda found: read_env()[found[1]], service["image"])
    return filled.rsplit(":", 1)


SITES = {
    "docker": (DOCKER / "compose.yaml", DOCKER / "site" / "default.yaml", lambda instance: True),
    "managed": (
        MANAGED / "docker-compose.yaml",
        MANAGED / "default.yaml",
        lambda instance: str(instance.data.get("manage", "")).startswith("docker"),
    ),
}


@pytest.mark.parametrize(("compose", "site", "contained"), SITES.values(), ids=SITES)
def test_there_is_a_service_for_each_instance_and_an_instance_for_each_service(compose, site, contained):
    hosts = SiteConfig.from_yaml(str(site)).hosts.values()
    instances = {f"ocs-{item.instance_id}" for host in hosts for item in host.instances if contained(item)}
    assert set(services(compose)) - INFRASTRUCTURE == instances


@pytest.mark.parametrize(("compose", "site", "contained"), SITES.values(), ids=SITES)
def test_a_service_starts_the_instance_that_it_is_named_after(compose, site, contained):
    agents = {name: service for name, service in services(compose).items() if name not in INFRASTRUCTURE}
    assert {name: f"ocs-{agent['environment']['INSTANCE_ID']}" for name, agent in agents.items()} == {
        name: name for name in agents
    }


@pytest.mark.parametrize("compose", [entry[0] for entry in SITES.values()], ids=SITES)
def test_our_images_carry_the_version_of_the_package(compose):
    images = [image_of(service) for service in services(compose).values()]
    assert {name: tag for name, tag in images if name in OURS} == dict.fromkeys(OURS, ocs.__version__)


@pytest.mark.parametrize("compose", [entry[0] for entry in SITES.values()], ids=SITES)
def test_aggregators_have_so3g_and_others_the_small_image(compose):
    images = {name: image_of(service)[0] for name, service in services(compose).items() if name not in INFRASTRUCTURE}
    assert images == {name: "ocs-recorder" if name == "ocs-aggregator" else "ocs-agent" for name in images}


def test_the_documentation_builds_upon_the_image_of_this_version():
    pages = [(ROOT / "docs" / "user" / f"{name}.md").read_text() for name in ("docker", "managing-a-host")]
    named = [set(re.findall(r"(?:ocs-agent:|OCS_VERSION=)(\w[\w.]*)", page)) for page in pages]
    assert named == [{ocs.__version__}] * 2


def test_every_variable_of_the_compose_file_is_in_the_env_file_and_the_other_way_round():
    used = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.yaml").read_text()))
    assert used == set(read_env()) - COMPOSES_OWN


def test_every_setting_is_documented():
    page = (ROOT / "docs" / "user" / "docker.md").read_text()
    assert [name for name in read_env() if f"`{name}`" not in page] == []


def test_the_port_that_compose_publishes_is_the_one_that_clients_are_told():
    site = SiteConfig.from_yaml(str(DOCKER / "site" / "default.yaml"))
    told = {re.search(r":(\d+)/", url)[1] for url in (site.hub.wamp_server, site.hub.wamp_http)}
    assert told == {read_env()["OCS_PORT"]}


def test_containers_find_the_router_by_the_name_of_its_service_at_the_port_that_is_published():
    host = SiteConfig.from_yaml(str(DOCKER / "site" / "default.yaml")).hosts["ocs-docker"]
    router = services(DOCKER / "compose.yaml")["router"]
    inner = router["ports"][0].rsplit(":", 1)[1]
    assert (host.wamp_server, host.wamp_http) == (f"ws://router:{inner}/ws", f"http://router:{inner}/call")


def test_containers_have_the_host_name_of_their_section():
    hosts = SiteConfig.from_yaml(str(DOCKER / "site" / "default.yaml")).hosts
    ours = {name: entry for name, entry in services(DOCKER / "compose.yaml").items() if image_of(entry)[0] in OURS}
    assert {service["hostname"] for service in ours.values()} == set(hosts)


def test_our_containers_are_restarted_have_no_privileges_and_time_to_end():
    for name, service in services(DOCKER / "compose.yaml").items():
        if image_of(service)[0] in OURS:
            assert service["restart"] == "unless-stopped", name
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert int(service["stop_grace_period"].removesuffix("s")) >= 20, name


def test_agents_keep_what_recorders_lack_in_a_volume():
    for name, service in services(DOCKER / "compose.yaml").items():
        if image_of(service)[0] in OURS[:2]:
            assert "${OCS_STATE}:/state" in service["volumes"], name


CLOSED = services(DOCKER / "compose.closed.yaml")


def test_at_a_closed_site_each_container_has_its_own_key_and_no_other():
    assert set(CLOSED) == set(services(DOCKER / "compose.yaml")) - INFRASTRUCTURE | {"router"}
    for name in CLOSED.keys() - {"router"}:
        key = f"/keys/private/{name.removeprefix('ocs-')}.key"
        assert CLOSED[name]["environment"] == {"OCS_KEY_FILE": key}
        assert set(CLOSED[name]["volumes"]) == {"./keys/ca.crt:/keys/ca.crt:ro", f".{key}:{key}:ro"}


def test_the_router_of_a_closed_site_reads_the_table_and_nobody_s_private_key():
    assert CLOSED["router"] == {"volumes": ["./keys:/keys:ro"], "tmpfs": ["/keys/private"]}


def test_a_manager_and_docker_do_not_both_restart_a_container():
    agents = [entry for name, entry in services(MANAGED / "docker-compose.yaml").items() if name.startswith("ocs-")]
    assert {service["restart"] for service in agents} == {"no"}


def test_public_images_are_named_by_a_version():
    tags = [image_of(service)[1] for service in services(DOCKER / "compose.yaml").values()]
    assert [tag for tag in [*tags, read_env()["BASE"]] if not re.search(r"\d", tag)] == []


def test_what_needs_an_image_of_others_is_in_a_profile_that_can_be_left_out():
    found = services(DOCKER / "compose.yaml")
    public = {name for name, service in found.items() if image_of(service)[0] not in OURS}
    assert {name for name, service in found.items() if "profiles" in service} == public | FEEDERS
    assert {tuple(found[name]["profiles"]) for name in public | FEEDERS} == {(read_env()["COMPOSE_PROFILES"],)}


def test_files_of_the_repository_are_mounted_to_be_read_only_and_exist():
    for name, service in services(DOCKER / "compose.yaml").items():
        for volume in service.get("volumes", ()):
            source, _, rest = volume.replace("${GRAFANA_ALERTS}", read_env()["GRAFANA_ALERTS"]).partition(":")
            if source.startswith("./"):
                assert rest.endswith(":ro"), f"{name}: {volume}"
                assert (DOCKER / source).is_dir(), f"{name}: {volume}"


def test_grafana_finds_what_it_is_given_where_it_is_told():
    grafana = services(DOCKER / "compose.yaml")["grafana"]
    mounts = dict(volume.split(":")[1::-1] for volume in grafana["volumes"])
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    providers = yaml.safe_load((DOCKER / "grafana" / "providers" / "ocs.yaml").read_text())["providers"]
    for told in [home, *(Path(provider["options"]["path"]) for provider in providers)]:
        inner = next(inner for inner in mounts if told.is_relative_to(inner))
        assert (DOCKER / mounts[inner] / told.relative_to(inner)).exists(), told
    alerts = {path.name for path in (DOCKER / "grafana" / "alerting").iterdir()}
    assert alerts == {"influxdb", "prometheus"} >= {read_env()["GRAFANA_ALERTS"]}


def test_data_sources_are_the_services_and_the_database_is_the_publishers():
    sources = yaml.safe_load((DOCKER / "grafana" / "datasources" / "ocs.yaml").read_text())["datasources"]
    found = services(DOCKER / "compose.yaml")
    assert {re.match(r"http://(\w+):", source["url"])[1] for source in sources} <= set(found)
    database = next(source["jsonData"]["dbName"] for source in sources if source["type"] == "influxdb")
    instances = SiteConfig.from_yaml(str(DOCKER / "site" / "default.yaml")).hosts["ocs-docker"].instances
    publisher = next(item for item in instances if item.instance_id == "influxdb")
    assert publisher.data["arguments"][:4] == ["--host", "influxdb", "--database", database]
    assert found["influxdb"]["environment"]["INFLUXDB_DB"] == database


def test_the_watcher_of_the_site_has_rules_without_a_mistake():
    assert read_rules(DOCKER / "site" / "watcher-rules.yaml").rules


def test_each_image_is_built_by_one_service():
    """Two would write the same tag at the same time."""
    built = [entry["build"]["target"] for entry in services(DOCKER / "compose.yaml").values() if "build" in entry]
    assert sorted(built) == ["agent", "recorder", "router"]


def stages():
    """Return the Dockerfile's stages: name → its instructions, each a line."""
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    found, current = {}, None
    for line in lines:
        if line.startswith("FROM "):
            current = found.setdefault(line.split()[-1], [line])
        elif current is not None:
            current.append(line)
    return found


def test_the_base_is_python_slim_unless_told_otherwise():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"ARG BASE={read_env()['BASE']}\n" in DOCKERFILE
    assert re.fullmatch(rf"python:{asked.removeprefix('>=')}-slim-\w+", read_env()["BASE"])


def test_images_run_without_root_and_end_by_sigint():
    common = stages()["common"]
    assert common.index("USER 1000:1000") > max(i for i, line in enumerate(common) if line.startswith("RUN"))
    assert "STOPSIGNAL SIGINT" in common
    assert any(line.startswith("HEALTHCHECK") for line in common)
    for image in ("agent", "recorder", "router"):
        assert stages()[image][0] == f"FROM common AS {image}"
        assert not any(line.startswith(("USER", "RUN")) for line in stages()[image])


def test_what_the_images_are_made_with_does_not_get_into_them():
    final = [line for name in ("common", "agent", "recorder", "router") for line in stages()[name]]
    assert not any("/wheels" in line or "OPTIONS" in line for line in final)


def test_the_dockerfile_needs_no_buildkit_and_fetches_nothing_by_itself():
    assert "--mount" not in DOCKERFILE
    assert not re.search(r"^(ADD|MAINTAINER)|\b(curl|wget|apt-get|sudo)\b|<<", DOCKERFILE, re.MULTILINE)


def copied():
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        yield from line.split()[:-1]


def test_what_is_copied_into_the_images_is_sent_to_the_engine():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(set(copied())) == sorted(allowed)
    assert [path for path in allowed if not (ROOT / path).exists()] == []


def test_nothing_else_is_sent_to_the_engine():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert not any(fnmatch.fnmatch(".venv", line[1:]) for line in lines if line.startswith("!"))


def test_the_layers_of_other_packages_ask_for_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    command = [sys.executable, str(DOCKER / "requirements.py"), "router"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    assert printed.splitlines() == [*project["dependencies"], *project["optional-dependencies"]["router"]]


def test_the_base_maker_does_not_fill_a_terminal_with_a_tar():
    master, slave = pty.openpty()
    command = [sys.executable, str(DOCKER / "local_base.py")]
    made = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    os.close(slave)
    os.close(master)
    assert made.returncode == 2
    assert "docker import" in made.stderr
