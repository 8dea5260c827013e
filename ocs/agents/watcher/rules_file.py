"""Reading the rules: YAML, in which every mistake is told with its file and line."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ocs.agents.watcher.amounts import duration, number, size
from ocs.agents.watcher.rules import SEVERITIES, Email, Escalation, Kind, Rule, Ruleset, Target, Webhook
from ocs.errors import SiteConfigError, WatchRulesError
from ocs.scf.checks import ConfigMistakeError, kind, mapping, printable, required, shown, under
from ocs.scf.reading import Document, read_text

__all__ = ["MAX_RULES", "RulesFile", "parse_rules", "read_rules"]

MAX_RULES = 1000
"""Rules of a file; and of targets a tenth of it."""

Reader = Callable[[Any], Any]


def parse_rules(text: str, path: str) -> Ruleset:
    """Return what the text of a rules file means.

    Args:
        text: YAML.
        path: where it came from, for messages.

    Raises:
        WatchRulesError: with file, line, and what is wrong.
    """
    try:
        document = Document(text, path)
        value = document.value()
    except SiteConfigError as error:
        raise WatchRulesError(str(error)) from None
    try:
        return _ruleset(value)
    except ConfigMistakeError as mistake:
        raise WatchRulesError(f"{path}:{document.line_of(mistake.keys)}: {mistake}") from None


def read_rules(path: Path) -> Ruleset:
    """Read a rules file. Blocks.

    Raises:
        WatchRulesError: it cannot be read, or has a mistake in it.
    """
    try:
        return parse_rules(read_text(str(path)), str(path))
    except FileNotFoundError:
        raise WatchRulesError(f"{path}: there is no such file") from None
    except SiteConfigError as error:
        raise WatchRulesError(str(error)) from None


class RulesFile:
    """The rules of a file as it is now: read again when it has changed, the last good reading kept.

    `refresh` is for threads; the file may have a mistake from the start, there are no rules then.

    Args:
        path: the file.

    Attributes:
        rules: those of the last good reading.
        trouble: what is wrong with the file now; None: nothing.
        never_good: whether there has been no good reading yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rules = Ruleset()
        self.trouble: str | None = None
        self.never_good = True
        self._seen: tuple[int, int, int] | None = (0, 0, 0)

    def refresh(self) -> bool:
        """Read the file if it has changed; return whether it has."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.rules, self.trouble, self.never_good = read_rules(self.path), None, False
        except WatchRulesError as error:
            self.trouble = f"{error} ({self._what_holds()})"
        return True

    def _what_holds(self) -> str:
        return "there are no rules" if self.never_good else "the rules of its last good reading are in force"

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


# The parts of the file


def _ruleset(value: Any) -> Ruleset:
    data = mapping(value, "the file")
    _refuse_strays(data, ("targets", "notify", "rules"))
    targets = under(("targets",), lambda: _targets(data.get("targets")))
    usual = under(("notify",), lambda: _names(data.get("notify", list(targets)), targets))
    entries = _entries(required(data, "rules"), "rules", MAX_RULES)
    rules = tuple(_rule_at(number, entry, targets, usual) for number, entry in enumerate(entries))
    _refuse_twins(rules)
    return Ruleset(rules, targets)


def _rule_at(number: int, entry: Any, targets: Mapping[str, Target], usual: tuple[str, ...]) -> Rule:
    return under(("rules", number), lambda: _rule(mapping(entry, "a rule"), targets, usual))


def _refuse_twins(rules: tuple[Rule, ...]) -> None:
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if rule.name in seen:
            raise ConfigMistakeError(f"there is a rule '{rule.name}' already", ("rules", place, "name"))
        seen.add(rule.name)


def _rule(data: Mapping[str, Any], targets: Mapping[str, Target], usual: tuple[str, ...]) -> Rule:
    what = _read(data, "kind", _one_of(tuple(Kind)), required_=True)
    readers, defaults = _KINDS[what]
    _refuse_strays(data, ("name", "kind", "notify", "escalate", *_COMMON, *readers))
    fields = dict(defaults)
    for key, (field, reader) in {**_COMMON, **readers}.items():
        if key in data:
            fields[field] = _read(data, key, reader)
    rule = Rule(
        name=_read(data, "name", _label, required_=True),
        kind=Kind(what),
        notify=under(("notify",), lambda: _names(data["notify"], targets)) if "notify" in data else usual,
        escalate=under(("escalate",), lambda: _escalations(data.get("escalate"), targets)),
        **fields,
    )
    _check_limits(rule)
    return rule


def _check_limits(rule: Rule) -> None:
    if rule.kind in (Kind.DEGRADED, Kind.NO_DATA) and not rule.wait:
        raise ConfigMistakeError(f"'{rule.name}' needs a 'for', such as 5 min")
    if rule.kind in (Kind.VALUE, Kind.DATA):
        if rule.low is None and rule.high is None:
            raise ConfigMistakeError(f"'{rule.name}' needs a limit: low, high, or both")
        if rule.low is not None and rule.high is not None and rule.low + 2 * rule.hysteresis > rule.high:
            raise ConfigMistakeError(f"'{rule.name}': nothing lies between its limits low and high")
    if rule.kind is Kind.DATA and not (rule.path and rule.operations != "*"):
        raise ConfigMistakeError(f"'{rule.name}' needs an 'operation' and the 'path' of a figure in its data")
    if rule.kind is Kind.VALUE and rule.fields == "*":
        raise ConfigMistakeError(f"'{rule.name}' needs a 'field'")


def _escalations(value: Any, targets: Mapping[str, Target]) -> tuple[Escalation, ...]:
    if value is None:
        return ()
    steps = value if isinstance(value, list) else [value]
    found = tuple(
        under((number,) if isinstance(value, list) else (), lambda step=step: _escalation(step, targets))  # type: ignore[misc]
        for number, step in enumerate(steps)
    )
    if [step.after for step in found] != sorted({step.after for step in found}):
        raise ConfigMistakeError("each step has to come later than the one before")
    return found


def _escalation(step: Any, targets: Mapping[str, Target]) -> Escalation:
    data = mapping(step, "a step")
    _refuse_strays(data, ("after", "to"))
    after = _read(data, "after", duration, required_=True)
    to = required(data, "to")
    return Escalation(after, under(("to",), lambda: _names(to, targets)))


def _targets(value: Any) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for place, entry in enumerate(_entries(value or [], "targets", MAX_RULES // 10)):
        target = under((place,), lambda entry=entry: _target(mapping(entry, "a target")))  # type: ignore[misc]
        if target.name in found:
            raise ConfigMistakeError(f"there is a target '{target.name}' already", (place, "name"))
        found[target.name] = target
    return found


def _target(data: Mapping[str, Any]) -> Target:
    _refuse_strays(data, ("name", "webhook", "email", "interval", "gather"))
    ways = [key for key in ("webhook", "email") if key in data]
    if len(ways) != 1:
        raise ConfigMistakeError("a target has either a webhook or an email")
    timing = {key: _read(data, key, duration) for key in ("interval", "gather") if key in data}
    way = under((ways[0],), lambda: _WAYS[ways[0]](mapping(data[ways[0]], ways[0])))
    return Target(_read(data, "name", _label, required_=True), way, **timing)


def _webhook(data: Mapping[str, Any]) -> Webhook:
    _refuse_strays(data, ("url", "token_file"))
    url = _read(data, "url", _url, required_=True)
    return Webhook(url, _read(data, "token_file", _word) if "token_file" in data else None)


def _email(data: Mapping[str, Any]) -> Email:
    _refuse_strays(data, ("host", "port", "from", "to", "tls", "username", "password_file"))
    readers: dict[str, tuple[str, Reader]] = {
        "port": ("port", _port),
        "tls": ("tls", _one_of(("none", "starttls", "tls"))),
        "username": ("username", _word),
        "password_file": ("password_file", _word),
    }
    optional = {field: _read(data, key, reader) for key, (field, reader) in readers.items() if key in data}
    if "password_file" in data and "username" not in data:
        raise ConfigMistakeError("a password is of no use without a 'username'", ("password_file",))
    return Email(
        _read(data, "host", _word, required_=True),
        _read(data, "from", _address, required_=True),
        _read(data, "to", _addresses, required_=True),
        **optional,
    )


_WAYS: dict[str, Callable[[Mapping[str, Any]], Webhook | Email]] = {"webhook": _webhook, "email": _email}


# Single values


def _read(data: Mapping[str, Any], key: str, reader: Reader, *, required_: bool = False) -> Any:
    """Return a value; a reader's ValueError becomes a mistake at its key."""
    value = required(data, key) if required_ else data[key]
    try:
        return reader(value)
    except ValueError as error:
        raise ConfigMistakeError(str(error), (key,)) from None


def _entries(value: Any, what: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigMistakeError(f"has to be a list, not {kind(value)}", (what,) if what == "rules" else ())
    if len(value) > most:
        raise ConfigMistakeError(f"there are {len(value)} {what}; at most {most} are taken")
    return value


def _refuse_strays(data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise ConfigMistakeError(
                f"'{printable(str(key)[:40])}' is not known here; known: {', '.join(known)}", (str(key),)
            )


def _names(value: Any, targets: Mapping[str, Target]) -> tuple[str, ...]:
    names = _words(value)
    for name in names:
        if name not in targets:
            raise ConfigMistakeError(
                f"there is no target '{printable(name)}'; there is: {', '.join(targets) or 'none'}"
            )
    return tuple(dict.fromkeys(names))


def _one_of(words: tuple[str, ...]) -> Reader:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{shown(value)} is none of: {', '.join(words)}")
        return str(value)

    return read


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"has to be a line of text, not {kind(value)}")
    return value.strip()


def _label(value: Any) -> str:
    word = _word(value)
    if len(word) > 100 or any(char in word for char in "*?[]!,"):  # noqa: PLR2004 - it is shown in tables
        raise ValueError(f"{shown(word)}: a name has at most 100 characters, and none of * ? [ ] ! ,")
    return word


def _address(value: Any) -> str:
    word = _word(value)
    if "@" not in word:
        raise ValueError(f"{shown(word)} is no address of a person")
    return word


def _addresses(value: Any) -> tuple[str, ...]:
    if not (found := tuple(_address(one) for one in _words(value))):
        raise ValueError("nobody is named: give an address, or a list of them")
    return found


def _words(value: Any) -> list[str]:
    try:
        return [_word(one) for one in (value if isinstance(value, list) else [value])]
    except ValueError:
        raise ConfigMistakeError(f"has to be a name or a list of names, not {kind(value)}") from None


def _pattern(value: Any) -> str:
    """Return a pattern; a list means that any of its members may fit."""
    parts = value if isinstance(value, list) else [value]
    if not parts:
        raise ValueError("an empty list would fit everything: leave it out, or name what is meant")
    return ",".join(_word(part) for part in parts)


def _folders(value: Any) -> tuple[str, ...]:
    folders = tuple(_word(one) for one in (value if isinstance(value, list) else [value]))
    if not all(folder.startswith("/") for folder in folders):
        raise ValueError("folders have to begin with /")
    return folders


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"has to be true or false, not {kind(value)}")  # noqa: TRY004 - what readers raise
    return value


def _margin(value: Any) -> float:
    margin = number(value)
    if margin < 0:
        raise ValueError(f"{margin:g} is no hysteresis: it says how far inside a value has to be again")
    return margin


def _url(value: Any) -> str:
    url = _word(value)
    if not url.startswith(("http://", "https://")):
        raise ValueError("has to begin with http:// or https://")
    if not _is_url(url):  # it may be a secret: it is not repeated
        raise ValueError("is no URL: http:// or https://, a host, perhaps a port, and a path without blanks")
    return url


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and url.isascii() and " " not in url
    except ValueError:
        return False


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:  # noqa: PLR2004 - ports
        raise ValueError(f"{shown(value)} is no port")
    return value


_Readers = dict[str, tuple[str, Reader]]
"""Key in the file -> field of the rule, and what reads it."""

_COMMON: _Readers = {
    "severity": ("severity", _one_of(SEVERITIES)),
    "for": ("wait", duration),
    "latch": ("latch", _flag),
}
_AGENT: _Readers = {"agents": ("agents", _pattern), "classes": ("classes", _pattern)}
_OPERATION: _Readers = {**_AGENT, "operations": ("operations", _pattern)}
_FEED: _Readers = {**_AGENT, "feeds": ("feeds", _pattern)}
_LIMITS: _Readers = {"low": ("low", number), "high": ("high", number), "hysteresis": ("hysteresis", _margin)}

_KINDS: dict[str, tuple[_Readers, dict[str, Any]]] = {
    Kind.EXPIRED: (_AGENT, {"severity": "critical"}),
    Kind.OPERATION_FAILED: (_OPERATION, {}),
    Kind.OPERATION_STOPPED: (_OPERATION, {"wait": 10.0}),
    Kind.DEGRADED: (_OPERATION, {}),
    Kind.NO_DATA: (_FEED, {}),
    Kind.VALUE: ({**_FEED, "fields": ("fields", _pattern), "field": ("fields", _pattern), **_LIMITS}, {}),
    Kind.GAP: ({**_AGENT, "within": ("within", duration)}, {}),
    Kind.DISK: ({**_AGENT, "below": ("low", size), "paths": ("paths", _folders)}, {"low": float(10 << 30)}),
    Kind.QUEUE: ({**_AGENT, "above": ("high", size)}, {"high": float(100 << 20)}),
    Kind.ROUTER: ({}, {"severity": "critical", "wait": 30.0}),
    Kind.DATA: ({**_AGENT, "operation": ("operations", _word), "path": ("path", _word), **_LIMITS}, {}),
}
"""What each kind of rule may say beyond what all may, and where its defaults are its own."""
