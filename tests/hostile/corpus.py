"""What garbage is made of: values that hypothesis has thought of, calls of an agent's operations, events of feeds."""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.hostile.raw_wamp import FORMS, MSGPACK, Form

VALUES = 1500
"""How many values hypothesis is asked for."""
MADE_UP = 200
"""How many agents that are not there publish something. A limit: what is kept of each is no leak."""

NASTY = (
    "",
    " ",
    "\0",
    "a\0b",
    "\n\r\t\x1b[31m",
    "\u202egarbage",
    "%s%n{0}{session}",
    "{log_source.__class__}",
    "'; DROP TABLE files; --",
    "$(reboot)`id`",
    "../../../../proc/nowhere/garbage",
    "nowhere/\udcff".encode(errors="replace").decode(),
    "é" * 300,
    "x" * 70_000,
    "__class__",
    "None",
    "NaN",
    "1e999",
    "*",
    "[",
    "!",
    "**/*",
    "observatory..feeds.",
)
_SURROGATES = ("\ud800", "a\udfffb", {"\ud800": "\udc00"})
_NUMBERS = (0, -1, 1, 0.0, -0.0, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 2**31, 2**63 - 1, -(2**63))
_HUGE_NUMBERS = (2**64 - 1, 2**64, -(2**64), 10**400, -(10**400))

_FITTING: Mapping[str, Sequence[Any]] = {
    "bool": (True, False),
    "int": (0, 1, 5, -3, 2**40),
    "float": (0.0, 0.01, 1, 3600.0, -1.0),
    "str": ("dark", "fake-1", "all", "*", ""),
    "list": ([], [["all", "up"]], ["all"], [1, 2]),
    "dict": ({}, {"kind": "SequenceComponent"}, {"a": {"b": [1, None]}}),
}


def _nested(depth: int, *, as_map: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value} if as_map else [value]
    return value


def _invented(seed_number: int, number: int) -> list[Any]:
    """Have hypothesis make values; the same for the same seed."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
        st.binary(max_size=40),
        st.sampled_from([*NASTY, *_NUMBERS]),
    )
    keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(keys, inner, max_size=6), max_leaves=12
    )
    found: list[Any] = []

    @seed(seed_number)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(values)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


class Corpus:
    """Values to be sent, by the form in which they can be.

    Args:
        seed_number: the same for the same values.
        number: how many hypothesis is asked for.
    """

    def __init__(self, seed_number: int, number: int = VALUES) -> None:
        special = [
            *NASTY,
            *_NUMBERS,
            *_HUGE_NUMBERS,
            *_SURROGATES,
            _nested(60, as_map=False),
            _nested(60, as_map=True),
            list(range(5000)),
            {f"key{i}": i for i in range(2000)},
            b"\xff\xfe" * 20,
        ]
        values = _invented(seed_number, number) + special * 3
        self._values = {form.name: [value for value in values if _fits(form, value)] for form in FORMS}

    def of(self, form: Form) -> list[Any]:
        """Return the values that a form can carry."""
        return self._values[form.name]


def _has_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError:
        return True
    return False


def _fits(form: Form, value: Any) -> bool:
    # What MessagePack has no form for, crossbar cannot hand on to an agent that speaks it. The caller alone suffers: it
    # gets no answer.
    if _has_surrogate(value):
        return False
    try:
        form.pack(value)
        MSGPACK.pack(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


class Operation:
    """An operation as the agent describes it.

    Args:
        entry: ``[name, session, info]``.
    """

    def __init__(self, entry: Sequence[Any]) -> None:
        self.name: str = entry[0]
        self.params: list[dict[str, Any]] = entry[2].get("params") or []


class Garbage:
    """Makes calls and events.

    Args:
        address: of the agent.
        operations: what it offers.
        others: its procedures beside ``.ops`` and the queries, whole addresses.
        corpus: the values.
        form: how they are to be sent.
        seed_number: the same for the same garbage.
        tame: parameter name to the only values that are to be sent for it: where others would do harm.
        kept_out: ``(action, operation)`` that are not to be called: they end the agent, as they should.
    """

    def __init__(
        self,
        address: str,
        operations: Sequence[Operation],
        others: Sequence[str],
        corpus: Corpus,
        form: Form,
        seed_number: int,
        tame: Mapping[str, Sequence[Any]],
        kept_out: frozenset[tuple[str, str]],
    ) -> None:
        self._address, self._root = address, address.rpartition(".")[0]
        self._operations = [op for op in operations if ("start", op.name) not in kept_out]
        self._others = list(others)
        self._values = corpus.of(form)
        self._random = random.Random(seed_number)
        self._tame, self._kept_out = tame, kept_out

    def value(self) -> Any:
        """Return any value."""
        return self._random.choice(self._values)

    # Calls

    def call(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return a procedure, arguments and keyword arguments."""
        kinds = (self._misused, self._nearly_right, self._nonsense, self._query, self._other)
        return self._random.choices(kinds, (30, 30, 20, 10, 10))[0]()

    def _ops(self, /, *args: Any, **kwargs: Any) -> tuple[str, list[Any], dict[str, Any]]:
        return f"{self._address}.ops", list(args), kwargs

    def _action(self, name: str) -> str:
        actions = [one for one in ("start", "stop", "abort", "status") if (one, name) not in self._kept_out]
        return self._random.choice(actions)

    def _misused(self) -> tuple[str, list[Any], dict[str, Any]]:
        """A real operation, with whatever for parameters, a time or a password."""
        name = self._random.choice(self._operations).name
        if self._random.random() < 0.3:
            return self._ops("wait", name, timeout=self._time(), password=self.value())
        params = self.value()
        if isinstance(params, dict) and self._tame.keys() & params.keys():
            params = None
        return self._ops(self._action(name), name, params=params, password=self.value())

    def _time(self) -> Any:
        """A time to wait for: mostly so short, or so wrong, that the answer comes at once."""
        return self._random.choice((-1, -0.5, 0, 0.001, 0.01, float("nan"), -float("inf"), "1", [], {}, True, -(2**40)))

    def _nearly_right(self) -> tuple[str, list[Any], dict[str, Any]]:
        """A real operation with parameters of the right names, some of which have fitting values."""
        op = self._random.choice(self._operations)
        params = {param["name"]: self._param(param) for param in op.params if self._random.random() < 0.8}
        if self._random.random() < 0.1:
            params[f"stray{self._random.randrange(9)}"] = self.value()
        action = "start" if self._random.random() < 0.7 else self._action(op.name)
        return self._ops(action, op.name, params, None, self.value() if self._random.random() < 0.3 else None)

    def _param(self, param: Mapping[str, Any]) -> Any:
        if param["name"] in self._tame:
            return self._random.choice(self._tame[param["name"]])
        if self._random.random() < 0.5:
            return self.value()
        fitting = _FITTING.get(str(param.get("type")), (None, 1, "dark"))
        return self._random.choice([*fitting, *(param.get("choices") or ()), param.get("default")])

    def _nonsense(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Arguments of any number and kind; none of it is the name of an action."""
        args = [self.value() for _ in range(self._random.randrange(7))]
        names = ("action", "op_name", "params", "timeout", "password", "garbage", "self")
        kwargs = {name: self.value() for name in self._random.sample(names, self._random.choice((0, 0, 1, 3)))}
        return self._ops(*args, **kwargs)

    def _query(self) -> tuple[str, list[Any], dict[str, Any]]:
        known = ("get_api", "get_tasks", "get_processes", "get_feeds", "get_agent_class", "GET_API", "_api", "__init__")
        asked = self._random.choice(known) if self._random.random() < 0.5 else self.value()
        more = [self.value()] if self._random.random() < 0.1 else []
        return self._address, [asked, *more], {"q": 1} if self._random.random() < 0.05 else {}

    def _other(self) -> tuple[str, list[Any], dict[str, Any]]:
        if not self._others:
            return self._nonsense()
        procedure = self._random.choice(self._others)
        args = [self._request(procedure)] if self._random.random() < 0.7 else [self.value(), self.value()]
        return procedure, args, {"request": self.value()} if self._random.random() < 0.1 else {}

    def _request(self, procedure: str) -> Any:
        fields = _REQUESTS.get(procedure.rpartition(".")[2], ())
        if not fields:
            return self.value()
        request = {field: self.value() for field in fields if self._random.random() < 0.6}
        if "recorder" in request and self._random.random() < 0.5:
            request["recorder"] = f"recorder-{self._random.randrange(40)}"
        return request

    # Events

    def event(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return a topic, arguments and keyword arguments."""
        agent = f"{self._root}.made-up-{self._random.randrange(MADE_UP)}"
        feed = self._random.choice(("heartbeat", "heartbeat", "data", "controls", "agent_operations", "x" * 300))
        topic = f"{agent}.feeds.{feed}"
        kind = self._random.random()
        if kind < 0.15:
            return topic, [self.value() for _ in range(self._random.randrange(4))], {"x": 1} if kind < 0.05 else {}
        data = self._heartbeat() if feed == "heartbeat" else self._blocks()
        return topic, [[data, self._envelope(agent, feed, topic)]], {}

    def _spoilt(self, value: Any, chance: float = 0.1) -> Any:
        return self.value() if self._random.random() < chance else value

    def _heartbeat(self) -> Any:
        codes = {f"op{i}": self._spoilt(self._random.randrange(9)) for i in range(self._random.randrange(4))}
        return self._spoilt(codes, 0.2)

    def _blocks(self) -> Any:
        length = self._random.randrange(4)
        name = self._random.choice(("temps", "block", "b" * 300, "%s"))
        data = {f"f{i}": self._spoilt([self._spoilt(1.5, 0.2)] * length, 0.2) for i in range(self._random.randrange(4))}
        stamps = self._spoilt([self._spoilt(1.79e9 + i, 0.2) for i in range(length)])
        block = {"block_name": self._spoilt(name), "timestamps": stamps, "data": self._spoilt(data)}
        return self._spoilt({name: self._spoilt(block)})

    def _envelope(self, agent: str, feed: str, topic: str) -> Any:
        envelope = {
            "agent_address": agent,
            "agg_params": {"frame_length": self._spoilt(60), "exclude_aggregator": self._spoilt(False)},
            "feed_name": feed,
            "address": topic,
            "record": self._random.random() < 0.8,
            "session_id": f"179000000{self._random.randrange(3)}.5",
            "agent_class": "MadeUpAgent",
            "seq": self._random.randrange(1, 50),
            "last_seq": self._random.randrange(50),
        }
        if self._random.random() < 0.4:
            envelope[self._random.choice(list(envelope))] = self.value()
        return self._spoilt(envelope, 0.05)


_REQUESTS: Mapping[str, Sequence[str]] = {
    "replay": ("recorder", "every", "have", "leave", "run", "from", "since", "limit"),
    "spawn": ("kind", "componentName", "obsModeConfigPath", "isConfigLocal", "instanceId", "version"),
    "kill": ("prefix", "componentType"),
    "containers": ("hostConfigPath", "isConfigLocal"),
    "agent_poll": (),
    "request_exclusive": (),
}
