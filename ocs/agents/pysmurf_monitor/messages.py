"""What a datagram says: a file to be entered, a message for the feeds, or nothing that is to be believed.

Whoever can reach the port can send anything. Nothing here touches a disk; whatever is not exactly what a publisher
sends is refused, with a reason under which it is counted.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ocs.agents.pysmurf_monitor.remote_path import ARCHIVES, SMURF, create_remote_path, is_deletable
from ocs.errors import RefusedError
from ocs.plain import INT_MAX, INT_MIN

__all__ = ["LONGEST", "REASONS", "Announcement", "FeedMessage", "RefusedError", "parse"]

LONGEST: Final = 65_535
"""Length of the longest datagram, in bytes."""
LONGEST_PATH: Final = 4095
"""Length of the longest path that the system opens, in bytes."""
LONGEST_NAME: Final = 255
"""Length of the longest name of a file or folder, in bytes."""
LONGEST_ID: Final = 100
"""Length of the longest publisher id and action, in characters."""
LONGEST_REGISTER: Final = 1000
"""Length of the longest path of a register, in characters."""
DEEPEST: Final = 32
"""So deep may lists and objects be within each other."""
FIRST_TIME: Final = 10_000.0
"""The earliest time (unix s): a remote path begins with five digits of one."""
LAST_TIME: Final = 1e11
"""The time (unix s) from which on it is none any more: the year 5138."""

REASONS: Final = frozenset(
    {
        "bad_action", "bad_path", "bad_publisher_id", "bad_text", "bad_time", "duplicate_key", "missing_key",
        "not_an_object", "not_json", "number_too_large", "too_deep", "too_long", "unknown_archive", "unknown_type",
        "wrong_type",
        # These are found when the file is opened.
        "forbidden", "not_a_file", "outside_roots",
    }
)  # fmt: skip
"""Why something is refused."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A file that is to be entered.

    Attributes:
        path: where it is, absolute, without ``..``; with the ``.npy`` that NumPy adds.
        pub_id: who announced it.
        archive_name: ``smurf`` or ``timestreams``.
        remote_path: where it goes, relative to the archive's folder.
        deletable: whether it may be deleted when it has been copied.
        time: of the message (unix s).
    """

    path: str
    pub_id: str
    archive_name: str
    remote_path: str
    deletable: bool
    time: float


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """Something that goes on to a feed.

    Attributes:
        kind: ``session`` or ``metadata``.
        pub_id: who sent it.
        payload: of ``session`` whatever was sent; of ``metadata`` ``stream_id``, ``path`` and ``value``.
        time: of the message (unix s).
        whole: the message as it was sent.
    """

    kind: str
    pub_id: str
    payload: Any
    time: float
    whole: dict[str, Any]


def parse(data: bytes) -> Announcement | FeedMessage | None:
    """Return what a datagram says; None for what publishers say to others.

    Args:
        data: the datagram.

    Raises:
        RefusedError: it is not what a publisher sends; `RefusedError.reason` is one of `REASONS`.
    """
    whole = _decoded(data)
    try:
        build = _KINDS.get(kind := _text(whole, "type"))
        if build is None:
            if kind in _FOR_OTHERS:
                return None
            raise RefusedError("unknown_type", f"the type is {_shown(whole['type'])}")
        pub_id = _text(whole, "id")
        if not _is_identifier(pub_id):
            raise RefusedError("bad_publisher_id", f"the publisher's id is {_shown(pub_id)}")
        return build(whole, pub_id, _time(whole, "time"))
    except KeyError as error:
        raise RefusedError("missing_key", f"there is no {error.args[0]}") from None


# JSON


def _decoded(data: bytes) -> dict[str, Any]:
    if len(data) > LONGEST:
        raise RefusedError("too_long", f"{len(data)} bytes, at most {LONGEST}")
    try:
        text = data.decode()
        whole, end = _scan(text, 0)
    except UnicodeDecodeError as error:
        raise RefusedError("bad_text", f"not UTF-8: {error.reason} at byte {error.start}") from None
    except StopIteration:
        raise RefusedError("not_json", "does not begin as JSON does") from None
    except json.JSONDecodeError as error:
        raise RefusedError("not_json", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise RefusedError("too_deep", "lists or objects are too deep within each other") from None
    if type(whole) is not dict:
        raise RefusedError("not_an_object", f"a {type(whole).__name__}")
    _check_rest(text, end)
    _check_contents(text, whole)
    return whole


def _check_rest(text: str, end: int) -> None:
    if end != len(text) and text[end:].strip(" \t\r\n"):
        raise RefusedError("not_json", f"more follows the object at character {end}")


def _check_contents(text: str, whole: dict[str, Any]) -> None:
    """Refuse what JSON can say and nobody can pass on. Few messages can contain such a thing at all."""
    if "\\u" in text and not _is_encodable(whole):
        raise RefusedError("bad_text", "half a surrogate pair in a text")
    if text.count("{") + text.count("[") > DEEPEST and _depth(whole) > DEEPEST:
        raise RefusedError("too_deep", f"lists or objects within each other more than {DEEPEST} times")


def _is_encodable(whole: dict[str, Any]) -> bool:
    try:
        json.dumps(whole, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except RecursionError:  # told as what it is, by who looks at the depth
        return True
    return True


def _depth(value: Any) -> int:
    """Return how deep lists and objects are within each other, at most one more than is allowed."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        depth += 1
        level = [inner for each in level for inner in _inner(each) if isinstance(inner, dict | list)]
    return depth


def _inner(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RefusedError("duplicate_key", "an object has a key twice")
    return found


_SURELY_64_BITS: Final = 18
"""A number of so many characters has at most 64 bits."""
_LONGEST_64_BITS: Final = 20


def _integer(text: str) -> int:
    if len(text) > _SURELY_64_BITS and not _has_64_bits(text):
        raise RefusedError("number_too_large", f"an integer of {len(text)} characters, at most 64 bits")
    return int(text)


def _has_64_bits(text: str) -> bool:
    return len(text) <= _LONGEST_64_BITS and INT_MIN <= int(text) <= INT_MAX


# `scan_once` is what `decode` calls: a datagram of a publisher has no white space around it to be looked for.
_scan: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer
).scan_once  # type: ignore[attr-defined]


# Values


def _shown(value: Any) -> str:
    return ascii(value)[:100]


def _wrong_type(key: str, value: Any, wanted: str) -> NoReturn:
    raise RefusedError("wrong_type", f"{key} is a {type(value).__name__}, not {wanted}")


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping[key]
    if type(value) is not str:
        _wrong_type(key, value, "a text")
    return value


def _object(mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = mapping[key]
    if type(value) is not dict:
        _wrong_type(key, value, "an object")
    return value


def _time(mapping: Mapping[str, Any], key: str) -> float:
    value = mapping[key]
    # A boolean is an int by class, and not by type.
    if type(value) is not float and type(value) is not int:
        _wrong_type(key, value, "a number")
    if not FIRST_TIME <= value < LAST_TIME:
        raise RefusedError("bad_time", f"{key} is {value}: not unix seconds")
    return value


_is_identifier: Final = re.compile(rf"[A-Za-z0-9_:+-][A-Za-z0-9._:+-]{{0,{LONGEST_ID - 1}}}").fullmatch
"""A publisher's id or an action: letters, digits and ``._:+-``, no dot at the beginning."""


# Files


def _announcement(whole: dict[str, Any], pub_id: str, time: float) -> Announcement:
    payload = _object(whole, "payload")
    archive_name = _archive(payload)
    path = _checked_path(_npy_added(_text(payload, "path"), payload.get("format")))
    if archive_name == SMURF:
        _check_action(payload)
    remote_path = create_remote_path({**payload, "path": path, "pub_id": pub_id}, archive_name)
    return Announcement(path, pub_id, archive_name, remote_path, is_deletable(path, archive_name), time)


def _archive(payload: Mapping[str, Any]) -> str:
    archive_name = _text(payload, "archive_name") if "archive_name" in payload else SMURF
    if archive_name not in ARCHIVES:
        raise RefusedError("unknown_archive", f"the archive is {_shown(archive_name)}: there are {', '.join(ARCHIVES)}")
    return archive_name


def _npy_added(path: str, kind: Any) -> str:
    if kind is not None and type(kind) is not str:
        _wrong_type("format", kind, "a text")
    return f"{path}.npy" if kind == "npy" and not path.endswith(".npy") else path


def _check_action(payload: Mapping[str, Any]) -> None:
    """Look at all that the remote path is made of besides path and publisher."""
    _time(payload, "timestamp")
    if type(payload["plot"]) is not bool and payload["plot"] not in (0, 1):
        _wrong_type("plot", payload["plot"], "true or false")
    action, begun = payload["action"], payload["action_ts"]
    # Files that are registered outside of an action have neither.
    if action is not None and not _is_identifier(_text(payload, "action")):
        raise RefusedError("bad_action", f"the action is {_shown(action)}")
    if begun is not None and not (type(begun) is str and _is_digits(begun)):
        _time(payload, "action_ts")


_is_digits: Final = re.compile(r"[0-9]{5,11}(?:\.[0-9]{1,9})?").fullmatch


# Paths

_is_plain_path: Final = re.compile(
    # Nearly every path; each step takes what it can and never gives it back, so that no text takes long.
    rf"(?:/[A-Za-z0-9_][A-Za-z0-9._+=,:@^%#-]{{0,{LONGEST_NAME - 1}}}+)++"
).fullmatch

_find_shell: Final = re.compile(r"[\"'`$;&|<>(){}\[\]*?!\\]|[/ ][-~]").search
"""What a shell, or a program called through one, takes for more than a name."""


def _checked_path(path: str) -> str:
    """Return a path, without doubled slashes; refuse one that could be more than the name of a file."""
    if _is_plain_path(path) and len(path) <= LONGEST_PATH:
        return path
    parts = path.split("/")
    if trouble := _trouble_of_text(path) or _trouble_of_parts(parts):
        raise RefusedError("bad_path", f"{trouble}: {_shown(path)}")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _trouble_of_text(path: str) -> str:
    if not path.startswith("/"):
        return "not absolute"
    if not path.isprintable():
        return "control characters, or others that nobody can see"
    if found := _find_shell(path):
        return f"{found[0]!r} means something to a shell"
    if len(path.encode()) > LONGEST_PATH:
        return f"longer than {LONGEST_PATH} bytes"
    return ""


def _trouble_of_parts(parts: list[str]) -> str:
    if parts[-1] in ("", "."):
        return "a folder"
    if ".." in parts:
        return "leads upwards"
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        return f"a name of more than {LONGEST_NAME} bytes"
    return ""


# Feeds


def _session(whole: dict[str, Any], pub_id: str, time: float) -> FeedMessage:
    return FeedMessage("session", pub_id, whole["payload"], time, whole)


def _metadata(whole: dict[str, Any], pub_id: str, time: float) -> FeedMessage:
    payload = _object(whole, "payload")
    stream_id = pub_id.split(":")[1] if ":" in pub_id else pub_id
    if not _is_identifier(stream_id):
        raise RefusedError("bad_publisher_id", f"no stream in the publisher's id {pub_id}")
    register = _text(payload, "path")
    if not (register and register.isprintable() and len(register) <= LONGEST_REGISTER):
        raise RefusedError("bad_path", f"no register is called {_shown(register)}")
    contents = {"stream_id": stream_id, "path": register, "value": payload["value"]}
    return FeedMessage("metadata", pub_id, contents, time, whole)


_FOR_OTHERS: Final = frozenset({"start", "stop", "log", "general", "backend_error"})
"""What pysmurf's publisher sends too: that a script has begun or ended, and what it logs."""

_KINDS: Final[Mapping[str, Callable[[dict[str, Any], str, float], Announcement | FeedMessage]]] = {
    "data_file": _announcement,
    "g3_file": _announcement,
    "session_data": _session,
    "session_log": _session,
    "metadata": _metadata,
}
