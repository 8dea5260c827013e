"""Garbage at every agent: calls of its procedures and events on what it listens to, with whatever for contents.

``python -m tests.hostile.garbage --calls 100000 --events 100000 --markdown docs/user/garbage.md``
"""

import argparse
import contextlib
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import psutil
import yaml
from autobahn.wamp.serializer import JsonObjectSerializer

from ocs import plugin
from ocs.router.config import crossbar_config
from ocs.router.server import Router, free_port
from tests.harness.agents import AgentHandle, start_agent
from tests.harness.pysmurf import free_udp_port
from tests.harness.site import Site
from tests.hostile.corpus import Corpus, Garbage, Operation
from tests.hostile.raw_wamp import CALL, ERROR, FORMS, JSON, PUBLISH, RESULT, Form, RawSession

BEGIN, END = "<!-- garbage: begin -->", "<!-- garbage: end -->"
BATCH = 100
"""Calls and events on their way at a time, in each session."""
WARM = 0.1
"""The part of all that is sent before memory is looked at."""
_TROUBLE = re.compile(r"Traceback|Unhandled|ERROR: Exception", re.IGNORECASE)
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """How an agent class is tried.

    Attributes:
        arguments: its command line; ``{folder}``, ``{port}`` and ``{udp}`` are filled in.
        process: the operation that has to run, or to start, afterwards; empty: there is none that runs by itself.
        others: procedures of its own beside ``.ops``, by what follows the address.
        tame: parameter to the only values that are sent for it: where others do what they are meant to, for long.
        kept_out: ``(action, operation)`` that end the agent, as they should.
    """

    arguments: tuple[str, ...] = ()
    process: str = "main"
    others: tuple[str, ...] = ()
    tame: dict[str, Sequence[Any]] = field(default_factory=dict)
    kept_out: frozenset[tuple[str, str]] = frozenset()


_ENVIRONMENT = {"INFLUXDB_V2_URL": "http://127.0.0.1:9", "INFLUXDB_V2_TOKEN": "token", "INFLUXDB_V2_ORG": "ocs"}

_SPAWNED: dict[str, Sequence[Any]] = {
    "request": (None, {}, {"kind": "x"}, {"kind": "SequenceComponent", "componentName": ""}, [], 5),
}

CASES = {
    "RegistryAgent": Case(),
    "AggregatorAgent": Case(("--data-dir", "{folder}/hk", "--initial-state", "record"), "record"),
    "FakeDataAgent": Case(("--mode", "acq"), "acq", tame={"delay": (0, 0.01, -1, "x", None)}),
    "BarebonesAgent": Case(("--mode", "count"), "count"),
    "AccessDirector": Case(("--config-file", "acc.yaml"), "manager", ("agent_poll", "request_exclusive")),
    "HostManager": Case((), "manager", kept_out=frozenset({("start", "die")})),
    "PysmurfMonitor": Case(
        ("--udp-port", "{udp}", "--db-path", "{folder}/suprsync.db", "--allow-root", "{folder}/data"), "run"
    ),
    "InfluxDBAgent": Case(("--host", "127.0.0.1", "--port", "{port}"), "record"),
    "InfluxDBAgentv2": Case((), "record"),
    "PrometheusExporter": Case(("--port", "{port}")),
    "WatcherAgent": Case(("--rules", "rules.yaml"), "watch"),
    "SequenceManager": Case(("--obs-mode-file", "modes.yaml")),
    "SequenceComponent": Case(("--prefix", "ESW.primary"), ""),
    "SpawnAgent": Case(("--prefix", "ESW.spawner"), "main", ("spawn", "kill", "containers"), _SPAWNED),
}


def missing() -> set[str]:
    """Return the agent classes of the package that no case tries."""
    return set(plugin.agents) - set(CASES)


@dataclass
class Found:
    """What became of one agent."""

    agent_class: str
    calls: int
    events: int
    seconds: float
    memory: tuple[float, float]
    """In MiB, after the first tenth and at the end."""
    router_memory: tuple[float, float]
    log_lines: int
    troubles: list[str]

    def row(self) -> str:
        """Return a line of the table."""
        before, after = self.memory
        router_before, router_after = self.router_memory
        cells = (self.agent_class, f"{self.calls:,}", f"{self.events:,}", f"{self.seconds:.0f}")
        cells += (f"{before:.0f} → {after:.0f}", f"{router_before:.0f} → {router_after:.0f}", f"{self.log_lines:,}")
        return "| " + " | ".join((*cells, "; ".join(self.troubles) or "nothing")) + " |"


class Target:
    """One agent and its router, and those who send them garbage."""

    def __init__(self, agent_class: str, folder: Path, seed_number: int, router: Router | None = None) -> None:
        self.case = CASES[agent_class]
        self.agent_class, self.folder, self.seed = agent_class, folder, seed_number
        self.router = router or _new_router(folder / "router")
        self._owns_router = router is None
        self.realm, self.port = self.router.realm, self.router.port
        self.site = Site(folder, self.router)
        self.handle: AgentHandle | None = None
        self._write_files()

    def _write_files(self) -> None:
        (self.folder / "data").mkdir()
        (self.folder / "sequences").mkdir()
        (self.folder / "sequences" / "dark.py").write_text("def main(run):\n    run.sleep(0.01)\n")
        (self.folder / "acc.yaml").write_text(
            yaml.safe_dump({"passwords": [{"default": True, "password_1": "", "password_2": "two"}]})
        )
        (self.folder / "rules.yaml").write_text(yaml.safe_dump({"rules": []}))
        (self.folder / "modes.yaml").write_text(
            yaml.safe_dump({"obsModes": {"dark": {"resources": ["camera"], "sequencers": ["ESW"]}}})
        )

    def __enter__(self) -> Self:
        if self._owns_router:
            self.router.start()
        try:
            known = {"folder": self.folder, "port": free_port(), "udp": free_udp_port()}
            words = [word.format(**known) for word in self.case.arguments]
            name = f"victim-{self.agent_class.lower()}"
            self.site.add_instance(self.agent_class, name, words)
            self.handle = start_agent(self.site, name, env=_ENVIRONMENT)
            self.handle.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.handle is not None:
            self.handle.kill()
        if self._owns_router:
            self.router.stop()

    @property
    def agent(self) -> AgentHandle:
        """The agent; only within the context."""
        assert self.handle is not None
        return self.handle

    def memory(self) -> tuple[float, float]:
        """Return what the agent and the router use, in MiB."""
        router = psutil.Process(self.router.pid or 0)
        others = sum(each.memory_info().rss for each in router.children(recursive=True))
        return psutil.Process(self.agent.process.pid).memory_info().rss / MIB, others / MIB

    def garbage(self, corpus: Corpus, form: Form) -> Garbage:
        """Return what makes the calls and events for one session."""
        described = self.agent.call("", "get_api")
        operations = [Operation(entry) for entry in [*described["tasks"], *described["processes"]]]
        others = [f"{self.agent.address}.{name}" for name in ("replay", *self.case.others)]
        number = self.seed + FORMS.index(form)
        return Garbage(self.agent.address, operations, others, corpus, form, number, self.case.tame, self.case.kept_out)

    def troubles(self) -> list[str]:
        """Return what is not as it was."""
        found = []
        if self.agent.process.poll() is not None:
            return [f"it ended with {self.agent.process.returncode}: {self.agent.output[-500:]}"]
        lines = self.agent.output.splitlines()
        bad = [number for number, line in enumerate(lines) if _TROUBLE.search(line)]
        if bad:
            told = "; ".join(lines[max(0, bad[0] - 1) : bad[0] + 20])
            found.append(f"{len(bad)} tracebacks, the first: {told[:3000]}")
        if not self._works():
            found.append(f"{self.case.process} does not run")
        return found

    def _works(self) -> bool:
        """Tell whether the agent's process runs, or can be started: garbage may have stopped it, as a call may."""
        name = self.case.process
        if not name:
            return isinstance(self.agent.call("", "get_api"), dict)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(LookupError):
                status = self.agent.call(".ops", "status", name)
                if status[2].get("status") == "running":
                    return True
                self.agent.call(".ops", "start", name)
            time.sleep(0.2)
        return False


class Sender:
    """One session that sends garbage, many calls at a time."""

    def __init__(self, target: Target, corpus: Corpus, form: Form) -> None:
        self._session = RawSession(target, form, timeout=8.0)  # less than between two pings
        self._garbage = target.garbage(corpus, form)
        self._random = random.Random(target.seed)

    def close(self) -> None:
        """Leave."""
        self._session.close()

    def send(self, calls: int, events: int) -> None:
        """Send a batch, and wait for the answers to its calls.

        Raises:
            TimeoutError: one has no answer.
        """
        messages = [[CALL, number, {}, *self._garbage.call()] for number in range(1, calls + 1)]
        messages += [[PUBLISH, 10_000 + number, {}, *self._garbage.event()] for number in range(events)]
        self._random.shuffle(messages)
        self._session.send_packed(self._packed(messages))
        left = set(range(1, calls + 1))
        while left:
            try:
                answer = self._session.receive()
            except TimeoutError:
                lost = [str(message)[:300] for message in messages if message[0] == CALL and message[1] in left]
                raise TimeoutError(f"{len(left)} calls have no answer, such as {lost[0]}") from None
            if answer[0] == RESULT:
                left.discard(answer[1])
            elif answer[0] == ERROR and answer[1] == CALL:
                left.discard(answer[2])

    def _packed(self, messages: list[list[Any]]) -> list[bytes]:
        packed = []
        for message in messages:
            try:
                packed.append(_as_router_takes_it(self._session.form, message))
            except (ValueError, TypeError, OverflowError):  # together they do not fit, though each does
                short = [*message[:4], ["unsendable"]]
                packed.append(self._session.form.pack(short))
        return packed


def _as_router_takes_it(form: Form, message: list[Any]) -> bytes:
    """Return a message on the wire.

    Raises:
        ValueError: it does not fit, or the router would end the session for it: in JSON, text that begins with a NUL
            stands for bytes in base64.
    """
    packed = form.pack(message)
    if form is JSON and b'"\\u0000' in packed:
        JsonObjectSerializer().unserialize(packed)
    return packed


_corpus = lru_cache(Corpus)
"""Hypothesis takes seconds to think."""


def _new_router(folder: Path) -> Router:
    port = free_port()
    hub = SimpleNamespace(
        wamp_server=f"ws://127.0.0.1:{port}/ws",
        wamp_http=f"http://127.0.0.1:{port}/call",
        wamp_realm="test_realm",
        address_root="observatory",
    )
    return Router(crossbar_config(hub, host="127.0.0.1"), folder)


def throw(agent_class: str, calls: int, events: int, seed_number: int = 8, router: Router | None = None) -> Found:
    """Throw garbage at one agent.

    Args:
        agent_class: which.
        calls: how many calls.
        events: how many events.
        seed_number: the same for the same garbage.
        router: one that runs; a new one unless given.

    Returns:
        What became of it; `Found.troubles` is empty if nothing did.
    """
    corpus = _corpus(seed_number)
    with tempfile.TemporaryDirectory() as folder, Target(agent_class, Path(folder), seed_number, router) as target:
        began = time.monotonic()
        before, sent, troubles = (0.0, 0.0), 0, []
        senders = [Sender(target, corpus, form) for form in FORMS]
        try:
            while sent < calls:
                for sender in senders:
                    sender.send(min(BATCH, calls - sent), round(BATCH * events / calls))
                    sent = min(calls, sent + BATCH)
                if not before[0] and sent >= WARM * calls:
                    before = target.memory()
        except (ConnectionError, TimeoutError) as error:
            troubles.append(f"after {sent} calls: {type(error).__name__} {error}")
        for sender in senders:
            sender.close()
        after = target.memory() if target.agent.process.poll() is None else (0.0, 0.0)
        troubles += target.troubles()
        lines = target.agent.output.count("\n")
        seconds = time.monotonic() - began
        memory, router = (before[0], after[0]), (before[1], after[1])
        return Found(agent_class, sent, events, seconds, memory, router, lines, troubles)


def table(found: Sequence[Found]) -> str:
    """Return the table, in Markdown."""
    head = "| agent | calls | events | s | its memory (MiB) | the router's (MiB) | lines in its log | what went wrong |"
    return "\n".join([head, "|---" * 8 + "|", *(one.row() for one in found)])


def main() -> int:
    """Throw garbage at all agents, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", nargs="+", choices=sorted(CASES), default=list(CASES), help="which (default: all)")
    parser.add_argument("--calls", type=int, default=100_000, help="at each (default: 100000)")
    parser.add_argument("--events", type=int, default=100_000, help="beside the calls (default: 100000)")
    parser.add_argument("--seed", type=int, default=8, help="the same for the same garbage (default: 8)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table into this page")
    args = parser.parse_args()
    found = []
    for agent_class in args.agent:
        found.append(throw(agent_class, args.calls, args.events, args.seed))
        print(found[-1].row(), flush=True)
    if args.markdown:
        text = args.markdown.read_text()
        before, _, rest = text.partition(BEGIN)
        args.markdown.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{rest.partition(END)[2]}")
    return int(any(one.troubles for one in found))


if __name__ == "__main__":
    sys.exit(main())
