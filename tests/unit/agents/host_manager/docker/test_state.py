"""What there is, against what the files describe."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.host_manager.docker.model import Container, Project, Service, Sight
from ocs.agents.host_manager.docker.state import clashes, containers_of, describe

FILE, OTHER = Path("/site/compose.yaml"), Path("/site/other.yaml")


def project(*names: str, file: Path = FILE, name: str = "site") -> Project:
    return Project(file, name, {each: Service(each, f"image-{each}:1", pulled=True) for each in names})


def container(service: str, number: int = 1, **keys) -> Container:
    made = Container(
        id=f"{service}{number}".encode().hex().rjust(12, "0"),
        name=f"site-{service}-{number}",
        project="site",
        service=service,
        number=number,
        one_off=False,
        config_files=(str(FILE),),
        image="sha256:12",
        state="running",
        running=True,
        exit_code=0,
        health="",
        stop_timeout=10.0,
    )
    return replace(made, **keys)


CONTAINERS = st.lists(
    st.builds(
        container,
        st.sampled_from(["a", "b", "c", ""]),
        st.integers(0, 3),
        project=st.sampled_from(["site", "other"]),
        one_off=st.booleans(),
        running=st.booleans(),
        config_files=st.sampled_from([(), (str(FILE),), (str(OTHER),), ("/else.yaml",)]),
    ),
    unique_by=lambda each: each.id,
)


@given(CONTAINERS)
def test_no_container_is_a_service_s_and_an_orphan_and_strangers_are_neither(containers):
    projects = [project("a"), project("b", file=OTHER)]
    overview = describe(projects, Sight(tuple(containers)))
    assert set(overview.services) == {"a", "b"}
    known = {each.id: each for each in containers}
    for name in overview.orphans:
        assert known[name].project == "site"
        assert known[name].service not in ("a", "b")
        assert not known[name].one_off
        assert known[name].config_files != ("/else.yaml",)
    for name, each in overview.services.items():
        found = known.get(each["container_id"])
        assert each["container_found"] is (found is not None)
        assert found is None or (found.service, found.project, found.one_off) == (name, "site", False)
        assert isinstance(each["exit_code"], int)


def test_of_several_containers_one_that_runs_counts():
    containers = (container("a", 1, running=False), container("a", 2), container("a", 3, one_off=True))
    assert [each.number for each in containers_of(project("a"), "a", Sight(containers))] == [2, 1]


def test_the_first_file_with_a_service_counts():
    first, second = project("a", "b"), project("a", "b", "c", file=OTHER)
    overview = describe([first, second], Sight())
    assert {name: each["compose_file"] for name, each in overview.services.items()} == {
        "a": str(FILE),
        "b": str(FILE),
        "c": str(OTHER),
    }
    told = f"{OTHER}: a, b are in {FILE} too, which counts: rename or remove them in one of the files"
    assert clashes([first, second]) == {OTHER: told}
    assert clashes([first]) == {}


def test_images_that_are_not_here_are_new_unless_they_are_built_here():
    services = {
        "a": Service("a", "x:1", pulled=True),
        "b": Service("b", "x:2", pulled=True),
        "c": Service("c", "y", False),
    }
    overview = describe([Project(FILE, "site", services)], Sight(images={"x:1": "sha256:1"}))
    assert overview.new_tags == {"b": "x:2"}
    assert overview.services["a"]["image_id"] == "sha256:1"
    assert overview.services["b"]["image_id"] == "unknown"


def test_without_an_engine_nobody_knows_what_runs():
    overview = describe([project("a")], Sight((container("a"),))).unknown()
    assert overview.services["a"]["running"] is None
    assert overview.services["a"]["container_found"] is True
