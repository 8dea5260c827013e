"""What all tests of interoperation share: the peers' interpreters."""

import sys

import pytest

import ocs
from tests.harness.agents import start_agent
from tests.harness.peers import PUBLISHED_SOCS, installed, peer_python
from tests.harness.site import Site


@pytest.fixture(scope="session")
def pythons(published_python) -> dict[str, str]:
    """Both interpreters, by the side that they stand for."""
    return {"ours": sys.executable, "published": published_python}


@pytest.fixture(scope="session")
def socs_python() -> str:
    """The interpreter that has the published socs over our ocs."""
    python = peer_python("socs", "socs", PUBLISHED_SOCS)
    assert installed(python, "ocs") == ocs.__version__, "socs must stand on this ocs: run `make peers` again"
    return python


@pytest.fixture(scope="module")
def module_site(request, router, tmp_path_factory) -> Site:
    """A site for all tests of a module."""
    return Site(tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2]), router)


@pytest.fixture(scope="module")
def start(module_site, pythons):
    """Start agents of the module's site, for all its tests: `start("ours", "fake-1", ...)` → handle.

    They are killed in the end: the published ones take several seconds to obey.
    """
    started = []

    def begin(side, instance_id, agent_class, arguments=(), **keywords):
        module_site.add_instance(agent_class, instance_id, arguments)
        handle = start_agent(module_site, instance_id, python=pythons[side], **keywords)
        started.append(handle)
        return handle

    yield begin
    for handle in started:
        handle.kill()
