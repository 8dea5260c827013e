"""Fixtures for all tests: a real router, a site, agents as processes, a faulty link, and a watch for what is left.

See docs/developer/testing.md.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocs.router.config import crossbar_config
from ocs.router.server import Router, free_port
from tests.harness import leaks
from tests.harness.agents import AgentHandle, start_agent
from tests.harness.docker_engine import DockerEngine, PrivateEngine, need_engine, start_engine
from tests.harness.influx import Influxd
from tests.harness.peers import PUBLISHED_OCS, peer_python
from tests.harness.proxy import TcpProxy
from tests.harness.site import Site

HUB = SimpleNamespace(
    wamp_server="ws://127.0.0.1:8001/ws",
    wamp_http="http://127.0.0.1:8001/call",
    wamp_realm="test_realm",
    address_root="observatory",
)


def pytest_configure() -> None:
    """Take signals as usual, also where whoever started the tests ignores them: what is tested inherits that."""
    for signum, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: one that is begun last is waited for by all the other workers."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup() -> None:
    """Set the depth of calls back: what crossbar loads raises it beyond what the stack holds."""
    sys.setrecursionlimit(1000)


def new_router(directory: Path, *, port: int | None = None, hub: Any = HUB) -> Router:
    """Make a router on a free port of the loopback interface; it is not started."""
    return Router(crossbar_config(hub, host="127.0.0.1", port=port or free_port()), directory)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process or a thread."""
    before = leaks.snapshot()
    yield
    left = leaks.left_behind(before)
    assert not left, f"the test left behind: {', '.join(left)}"


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One real crossbar for the whole run. Do not stop it: `own_router` is for that."""
    with new_router(tmp_path_factory.mktemp("router")) as running:
        yield running


@pytest.fixture
def own_router(tmp_path: Path) -> Iterator[Router]:
    """A running crossbar of the test's own, to be stopped, killed and started again (three seconds each)."""
    with new_router(tmp_path / "own-router") as running:
        yield running


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Site]:
    """A factory of site files for any router, or for a proxy before one: `make_site(own_router)`."""

    def make(router: Any, name: str = "site", **kwargs: Any) -> Site:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        return Site(directory, router, **kwargs)

    return make


@pytest.fixture
def site(router: Router, make_site: Callable[..., Site]) -> Site:
    """A site file for the run's router; `site.add_instance(agent_class, instance_id, [arguments])`."""
    return make_site(router)


@pytest.fixture
def run_agent(request: pytest.FixtureRequest) -> Iterator[Callable[..., AgentHandle]]:
    """Start agents: `run_agent("fake-1")`; all are ended with the test.

    Keywords: `site` (else the fixture), `python` (another interpreter, with another ocs), `env`, `wait` (False returns
    at once), `timeout` in seconds; further positional arguments go to the agent's command line.
    """
    started: list[AgentHandle] = []

    def run(
        instance_id: str,
        *arguments: str,
        site: Site | None = None,
        wait: bool = True,
        timeout: float = 20.0,
        **kwargs: Any,
    ) -> AgentHandle:
        handle = start_agent(site or request.getfixturevalue("site"), instance_id, *arguments, **kwargs)
        started.append(handle)
        if wait:
            handle.wait_until_ready(timeout)
        return handle

    yield run
    for handle in reversed(started):
        print(f"--- output of {handle.instance_id} ---\n{handle.output}")  # pytest shows it if the test failed
        handle.kill() if handle.process.poll() is None and not _obeys(handle) else None


def _obeys(handle: AgentHandle) -> bool:
    try:
        handle.stop(timeout=10)
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="session")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """One real InfluxDB 1 for the whole run; tests use databases of their own. Do not stop it: `own_influxd`."""
    server = Influxd(tmp_path_factory.mktemp("influxd")).start()
    yield server
    server.stop()


@pytest.fixture
def own_influxd(tmp_path: Path) -> Iterator[Influxd]:
    """A running InfluxDB 1 of the test's own, to be killed, frozen and started again."""
    server = Influxd(tmp_path / "influxd").start()
    yield server
    server.stop()


@pytest.fixture
def tcp_proxy(router: Router) -> Iterator[TcpProxy]:
    """A link to the run's router that can be cut and stalled: `make_site(tcp_proxy)` makes agents go through it."""
    proxy = TcpProxy(router)
    yield proxy
    proxy.close()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[Any], TcpProxy]]:
    """A factory of such links, to any router."""
    made: list[TcpProxy] = []

    def make(router: Any) -> TcpProxy:
        made.append(TcpProxy(router))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture(scope="session")
def published_python() -> str:
    """The interpreter of the published ocs; skips where there is none, fails in CI."""
    return peer_python("ocs", "ocs", PUBLISHED_OCS)


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """One real docker engine for the whole run, with an image of busybox; leave no containers in it.

    Skips where docker cannot run, and fails in CI. Do not stop it: `own_docker_engine` is for that.
    """
    engine = need_engine(lambda: start_engine(tmp_path_factory.mktemp("docker")))
    yield engine
    engine.close()


@pytest.fixture
def own_docker_engine(tmp_path: Path) -> Iterator[PrivateEngine]:
    """A docker engine of the test's own, to be killed, paused and started again."""
    engine = need_engine(lambda: PrivateEngine(tmp_path / "docker"))
    yield engine
    engine.close()
