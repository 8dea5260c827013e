"""The sites that are attacked: a closed one and an open one of ours, and one of the published package."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import psutil
import yaml

from ocs.keys.making import make_site
from ocs.keys.signing import SigningKey
from ocs.keys.site import identities_of
from ocs.keys.table import Identity
from ocs.router.config import crossbar_config
from ocs.router.server import Router, free_port
from ocs.scf.model import SiteConfig
from tests.harness.agents import AgentHandle, start_agent
from tests.harness.closed_site import ClosedSite
from tests.harness.peers import PUBLISHED_OCS, peer_python
from tests.harness.site import Site
from tests.hostile.raw_wamp import ERROR, MSGPACK, ClosedError, Form, RawSession

KINDS = ("closed", "open", "published")
REALM, ROOT = "test_realm", "observatory"
STRANGER, OBSERVER, CLIENT, THIEF = "stranger", "observer", "client", "thief"
"""Who attacks: somebody without a key; with the key of one who may listen, or operate; with that of another agent."""

PASSWORDS = {
    "distrib_hashfunc": "md5",  # the published agents know no stronger one
    "passwords": [{"default": True, "password_1": "", "password_2": "two-secret", "password_3": "three-secret"}],
    "exclusive_access_blocks": [
        {
            "name": "lock",
            "password": "lock-secret",
            "hash": "none",
            "grants": [{"agent_class": "FakeDataAgent", "cred_level": 3, "lockout_levels": [1, 2, 3]}],
        }
    ],
}

VICTIMS = ("registry", "agg", "acc", "fake-1")
_START_TIME = 30.0
_PATIENCE = 10.0
"""How long whoever may ask waits for an answer, in seconds."""


class AttackedSite:
    """A site at work: registry, recorder, access director, and an agent that takes data.

    Attributes:
        kind: one of `KINDS`.
        realm, root, port: of its router.
        operator: a session of somebody who may operate, by which is looked at what has happened.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.realm, self.root = REALM, ROOT
        self.closed: ClosedSite | None = None
        self._agents: dict[str, AgentHandle] = {}
        self.router = self._make_router()
        self.port = self.router.port
        self.site = self._make_site()
        if self.closed:
            site = SiteConfig.from_yaml(str(self.site.path))
            extra = [Identity(THIEF, "agent", (THIEF,)), Identity("absent", "agent", ("absent",))]
            make_site(self.closed.keys, [*identities_of(site), *extra], ["127.0.0.1"], time.time())

    # Making

    def _make_router(self) -> Router:
        if self.kind == "closed":
            self.closed = ClosedSite(self.folder, ())
            return self.closed.router
        port = free_port()
        if self.kind == "open":
            hub = SimpleNamespace(
                wamp_server=f"ws://127.0.0.1:{port}/ws",
                wamp_http=f"http://127.0.0.1:{port}/call",
                wamp_realm=REALM,
                address_root=ROOT,
            )
            return Router(crossbar_config(hub, host="127.0.0.1"), self.folder / "router")
        return Router(self._published_config(port), self.folder / "router", binary=str(self._bare_crossbar()))

    def _bare_crossbar(self) -> Path:
        """Make a program that is crossbar as one starts it by hand, without what our package bounds."""
        program = self.folder / "bare-crossbar"
        program.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{Path(sys.executable).with_name("crossbar")}" "$@"\n')
        program.chmod(0o755)
        return program

    def _published_config(self, port: int) -> dict[str, Any]:
        """Have the published package write the router's configuration, as its users do."""
        folder = self.folder / "crossbar"
        folder.mkdir()
        hub = {"wamp_realm": REALM, "address_root": ROOT}
        hub |= {"wamp_server": f"ws://127.0.0.1:{port}/ws", "wamp_http": f"http://127.0.0.1:{port}/call"}
        hosts = {"localhost": {"crossbar": {"config-dir": str(folder)}, "agent-instances": []}}
        site = self.folder / "published.yaml"
        site.write_text(yaml.safe_dump({"hub": hub, "hosts": hosts}))
        program = Path(self._python()).with_name("ocs-local-support")
        words = [str(program), "generate_crossbar_config", "--site-file", str(site), "--site-host", "localhost"]
        env = {**os.environ, "OCS_CONFIG_DIR": str(self.folder)}
        subprocess.run(words, check=True, capture_output=True, env=env, cwd=self.folder)
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        transport = config["workers"][0]["transports"][0]
        transport["endpoint"]["interface"] = "127.0.0.1"
        transport["paths"]["ws"]["options"]["auto_ping_size"] = 12  # the crossbar of today refuses less
        return config

    def _python(self) -> str:
        return peer_python("ocs", "ocs", PUBLISHED_OCS)

    def _make_site(self) -> Site:
        addresses = SimpleNamespace(ws_url=self.router.ws_url, http_url=self.router.http_url, realm=REALM)
        site = Site(self.folder, addresses)
        if self.closed:
            site.hub["keys"] = "keys"
        (self.folder / "acc.yaml").write_text(yaml.safe_dump(PASSWORDS))
        site.add_instance("RegistryAgent", "registry")
        site.add_instance(
            "AggregatorAgent", "agg", ["--data-dir", str(self.folder / "hk"), "--initial-state", "record"]
        )
        site.add_instance("AccessDirector", "acc", ["--config-file", "acc.yaml"])
        site.add_instance("FakeDataAgent", "fake-1", ["--mode", "acq", "--access-policy", "director:acc"])
        return site

    # Running

    def __enter__(self) -> Self:
        self.router.start()
        try:
            for name in VICTIMS:
                self._start(name)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self._agents.values():
            agent.kill()
        self.router.stop()

    def _start(self, name: str) -> None:
        program = {"python": self._python()} if self.kind == "published" else {}
        self._agents[name] = start_agent(self.site, name, **program)

    def restart(self, name: str) -> None:
        """Start a victim again that an attack has cost its address."""
        self._agents[name].kill()
        self._start(name)
        with contextlib.suppress(AssertionError):  # what another attack has broken; `is_well` tells
            self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIME
        while not (all(self.answers(name) for name in VICTIMS) and self._is_at_work()):
            assert time.monotonic() < deadline, {name: each.output[-500:] for name, each in self._agents.items()}
            time.sleep(0.1)

    def _is_at_work(self) -> bool:
        return bool(self.rules()["update_count"]) and self.status("fake-1", "acq").get("status") == "running"

    def agent_output(self, name: str) -> str:
        """What one of the victims has printed."""
        return self._agents[name].output

    def is_running(self, name: str) -> bool:
        """Whether the process of one of the victims lives."""
        return self._agents[name].process.poll() is None

    # Looking

    def ask(self, procedure: str, *args: Any, **kwargs: Any) -> Any:
        """Call as somebody who may operate.

        Raises:
            LookupError: there is no result.
        """
        with self.join(CLIENT, timeout=_PATIENCE) as session:
            answer = session.call(procedure, *args, **kwargs)
        if answer[0] == ERROR:
            raise LookupError(str(answer[4:]))
        return answer[3][0]

    def answers(self, name: str) -> bool:
        """Whether an agent answers who may ask."""
        with contextlib.suppress(LookupError, ClosedError, OSError):
            return isinstance(self.ask(self.address(name), "get_api"), dict)
        return False

    def address(self, name: str) -> str:
        """An agent's address."""
        return f"{ROOT}.{name}"

    def status(self, name: str, operation: str) -> dict[str, Any]:
        """What an operation says of itself."""
        found: dict[str, Any] = self.ask(f"{self.address(name)}.ops", "status", operation)[2]
        return found

    def rules(self) -> dict[str, Any]:
        """By which rules the agent goes."""
        found: dict[str, Any] = self.ask(self.address("fake-1"), "get_api")["access_control"]
        return found

    def is_well(self) -> bool:
        """Whether the router and all victims are as they were."""
        if not self.router.is_alive or not all(self.is_running(name) and self.answers(name) for name in VICTIMS):
            return False
        with contextlib.suppress(LookupError, ClosedError, OSError):
            return self._is_at_work() and self.status("agg", "record")["status"] == "running"
        return False

    def router_memory(self) -> int:
        """What the router's processes use, in bytes."""
        head = psutil.Process(self.router.pid or 0)
        return sum(each.memory_info().rss for each in (head, *head.children(recursive=True)))

    @contextlib.contextmanager
    def listening(self, topic: str) -> Iterator[Callable[[Callable[[Any], bool]], bool]]:
        """Listen as somebody who may; gives a function that tells whether a fitting event comes within a second."""
        from tests.hostile.raw_wamp import EVENT, SUBSCRIBE

        with self.join(CLIENT) as session:
            session.ask(SUBSCRIBE, {}, topic)
            yield lambda fits: session.hears(lambda message: message[0] == EVENT and fits(message[4:]))

    # Coming in

    def key(self, name: str) -> SigningKey | None:
        """The private key of an attacker; None where there are no keys."""
        return self.closed.key(name) if self.closed and name != STRANGER else None

    def link(self) -> Any:
        """A connection to the router, by TLS where it has it."""
        import socket

        return self.closed.tls_socket() if self.closed else socket.create_connection(("127.0.0.1", self.port), 20)

    def join(self, who: str, form: Form = MSGPACK, *, key: SigningKey | None = None, **further: Any) -> RawSession:
        """Join as an attacker; at a site without keys everybody is the same.

        Raises:
            ClosedError: the router does not admit them.
        """
        key = key or self.key(who)
        details: dict[str, Any] = {"authmethods": ["anonymous"]}
        if key is not None:
            details = {"authmethods": ["cryptosign"], "authid": who, "authextra": {"pubkey": key.public}}
        details |= further.pop("details", {})
        sign = further.pop("sign", key.sign_challenge if key else None)
        return RawSession(self, form, link=self.link(), details=details, sign=sign, **further)
