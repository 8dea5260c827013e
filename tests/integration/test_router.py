"""A real crossbar: started from our configuration, stopped, killed, started again; and what it lets pass."""

import os
import signal
import socket
import subprocess
import sys
import textwrap

import psutil
import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import SubscribeOptions
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from ocs.errors import RouterError
from ocs.router import health
from ocs.router.config import MAX_MESSAGE_BYTES
from ocs.router.process import running_pid
from ocs.router.server import Router
from tests.conftest import new_router
from tests.harness.agents import bridge_call
from tests.harness.processes import living
from tests.harness.wamp import wamp_session


def family(router: Router) -> list[psutil.Process]:
    head = psutil.Process(router.pid)
    return [head, *head.children(recursive=True)]


def test_serves_websocket_realm_bridge_and_info(router):
    found = health.check(router.ws_url, router.realm)
    assert found.ok, found.message
    assert health.answers_http(router.http_url) == 405
    assert health.answers_http(f"http://127.0.0.1:{router.port}/info") == 200
    assert health.answers_http(f"http://127.0.0.1:{router.port}/site") == 200
    assert health.answers_http(f"http://127.0.0.1:{router.port}/nothing") == 404


def test_a_realm_that_it_does_not_have_is_named(router):
    found = health.check(router.ws_url, "elsewhere")
    assert (found.ok, found.stage) == (False, "realm")
    assert "'elsewhere'" in found.message


def test_stop_leaves_no_process_and_start_works_again(own_router):
    before = family(own_router)
    own_router.stop()
    assert not living(before)
    assert not own_router.is_alive
    assert own_router.pid is None
    assert running_pid(own_router.directory) is None
    own_router.start()
    assert health.check(own_router.ws_url, own_router.realm).ok


def test_a_killed_router_starts_again_over_what_it_left(own_router):
    before = family(own_router)
    own_router.kill()
    assert not living(before)
    assert (own_router.directory / "node.pid").exists()
    own_router.start()
    assert health.check(own_router.ws_url, own_router.realm).ok


def test_stopping_what_does_not_run_is_harmless(tmp_path):
    router = new_router(tmp_path)
    router.stop()
    router.kill()


def test_a_busy_port_is_told_before_anything_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        router = new_router(tmp_path / "r", port=port)
        with pytest.raises(RouterError, match=f"port {port} .* in use"):
            router.start()
    assert not (tmp_path / "r").exists()


def test_a_second_router_from_the_same_folder_is_refused(own_router):
    second = new_router(own_router.directory)
    with pytest.raises(RouterError, match=rf"already runs .* \(pid {own_router.pid}\)"):
        second.start()


def test_a_refused_configuration_is_told_in_crossbar_s_words(tmp_path):
    router = new_router(tmp_path)
    router.config["workers"][0]["transports"][0]["options"]["acess_log"] = True
    with pytest.raises(RouterError, match="'acess_log' unknown"):
        router.start()
    assert not router.is_alive


def test_a_program_that_ends_by_an_exception_takes_its_router_with_it(tmp_path):
    program = f"""
        from pathlib import Path
        from tests.conftest import new_router
        router = new_router(Path({str(tmp_path)!r}))
        router.start()
        print(router.pid, flush=True)
        raise RuntimeError
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    assert not psutil.pid_exists(int(run.stdout))


@ensureDeferred
async def test_takes_messages_up_to_its_limit(router):
    text = "x" * (MAX_MESSAGE_BYTES - 1000)
    async with wamp_session(router) as session:
        await session.register(len, "observatory.test.length")
        assert await session.call("observatory.test.length", text) == len(text)


@ensureDeferred
async def test_names_outside_the_address_root_are_closed(router):
    async with wamp_session(router) as session:
        with pytest.raises(ApplicationError, match="not authorized"):
            await session.register(lambda: None, "elsewhere.procedure")


@ensureDeferred
async def test_the_router_tells_who_has_registered_a_procedure(router):
    async with wamp_session(router) as session:
        await session.register(lambda: None, "observatory.test.who")
        registration = await session.call("wamp.registration.match", "observatory.test.who")
        assert await session.call("wamp.registration.list_callees", registration) == [session._session_id]


@ensureDeferred
async def test_nobody_may_end_another_s_session(router):
    async with wamp_session(router) as session:
        with pytest.raises(ApplicationError, match="not authorized"):
            await session.call("wamp.session.kill", session._session_id)


@ensureDeferred
async def test_an_event_tells_who_published_it(router):
    event = Deferred()
    async with wamp_session(router) as subscriber, wamp_session(router) as publisher:
        options = SubscribeOptions(match="wildcard", details=True)
        await subscriber.subscribe(lambda *_, details: event.callback(details), "observatory..feeds.news", options)
        publisher.publish("observatory.test.feeds.news", 1)
        assert (await event).publisher == publisher._session_id


def test_an_unknown_procedure_through_the_bridge(router):
    with pytest.raises(LookupError, match="no_such_procedure"):
        bridge_call(router.http_url, "observatory.nobody", "get_api")


def test_a_stopped_router_s_children_are_gone_even_if_the_controller_was_killed_alone(own_router):
    before = family(own_router)
    os.kill(own_router.pid, signal.SIGKILL)
    own_router.stop()
    assert not living(before)


@pytest.mark.interop
def test_a_published_agent_works_on_it(site, run_agent, published_python):
    site.add_instance("FakeDataAgent", "fake-published")
    agent = run_agent("fake-published", python=published_python)
    assert agent.call("", "get_agent_class") == "FakeDataAgent"
    assert agent.call(".ops", "start", "acq", {"run_once": True}) is not None
    assert agent.stop() == 0
