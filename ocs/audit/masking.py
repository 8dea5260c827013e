"""What of a request's parameters may be written down: no secrets, nothing long.

When in doubt it is a secret: what is left out here can be asked of who made the request, what is written is out.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ocs.plain import INT_MAX, INT_MIN, sendable_text

__all__ = ["SHOWN", "Masked", "is_secret_name", "mask", "mask_text"]

SHOWN: Final = "***"
"""What is shown of a secret."""

_LONGEST: Final = 200
"""Characters of a text that are shown."""
_READ: Final = 1000
"""Characters of a text that are searched for secrets; what comes after is not shown."""
_MOST: Final = 100
"""Values that are shown of one request."""
_ROOM: Final = 3000
"""Bytes, in JSON, of all texts that are shown of one request: refused ones shall not fill the file."""
_DEEPEST: Final = 6
_LABEL: Final = 60
"""The longest text that is taken for the name of what comes next to it, in characters."""
_TELLING: Final = 3
"""From how many characters on a secret is looked for in messages: shorter ones are everywhere."""
_BEGINNING: Final = 4
"""Characters of a secret that give it away in a message, which may quote it in part."""

_PARTS: Final = (
    "passw", "passphrase", "passcode", "pwd", "pswd", "kennwort", "secret", "token", "credential", "apikey",
    "privatekey", "authoriz", "authoris", "authent", "authcode", "accesscode", "unlockcode", "oauth", "community",
    "webhook",
)  # fmt: skip
_WORDS: Final = frozenset((
    "key", "keys", "pass", "pw", "psk", "auth", "auths", "cookie", "cookies", "jwt", "bearer", "privs", "creds", "otp",
    "totp",
))  # fmt: skip
_ENDS: Final = ("key", "keys", "pw", "pass")
_NO_ENDS: Final = ("bypass", "lowpass", "highpass", "bandpass", "allpass", "compass", "encompass")

_CAMEL_BORDER: Final = re.compile(r"(?<=[a-z\d])(?=[A-Z])")
_BORDER: Final = re.compile(r"[\W_\d]+")

_SUSPECT: Final = re.compile(
    "|".join([*_PARTS, *sorted(_WORDS), "pass", "api", "private", "basic", "digest", "eyJ", "://", "-----"]),
    re.IGNORECASE,
)
"""What is in a text that has to be looked at more closely."""

_ASSIGNED: Final = re.compile(r"(?<![\w.-])([\w.-]+)[\"'`\\\])]*\s*(?:[=:]+>?|,(?=\s*[\"'\[({b\\]))\s*(?=\S)")
"""``password=...``, ``"token": ...``, ``'key', '...'``"""
_OPTION: Final = re.compile(r"(?<![\w-])-+(\w[\w.-]*)[\"',\s]+(?=\S)")
"""``--password ...``; each run of dashes is looked at once, however many there are."""
_PLAIN: Final = re.compile(r"\b(?:bearer|basic|digest)\s+(?=\S)|(?=\beyJ[\w-]{8})|(?=-----BEGIN )", re.IGNORECASE)
"""``Bearer ...``, a JWT, a PEM file"""
_UNBROKEN: Final = re.compile(r"\S+")
_CUT_URL: Final = re.compile(r"://([^/\s@]*:[^/\s@]*)\Z")


def is_secret_name(name: Any) -> bool:
    """Tell whether what is called so is probably a secret: ``password``, ``apiKey``, ``API-TOKEN``, ``pw_2``.

    Args:
        name: the name; what is no text is none.
    """
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if not isinstance(name, str):
        return False
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    return _judged(str(name)) if len(name) <= _LABEL else _is_secret(name[-_READ:])


def _is_secret(name: str) -> bool:
    joined = _BORDER.sub("", name).lower()
    if (joined.endswith(_ENDS) and not joined.endswith(_NO_ENDS)) or any(part in joined for part in _PARTS):
        return True
    words = {word.lower() for form in (name, _CAMEL_BORDER.sub(" ", name)) for word in _BORDER.split(form)}
    return not words.isdisjoint(_WORDS)


_judged = lru_cache(4096)(_is_secret)  # names of parameters are the same again and again


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LABEL and is_secret_name(value)


def mask_text(text: str) -> str:
    """Return a text short, without the secrets in it: passwords of URLs, ``token=...``, ``Bearer ...``.

    What follows the name of a secret counts as the secret, to the text's end.

    Args:
        text: anybody's.
    """
    return _without_secrets(text)[0]


def _without_secrets(text: str) -> tuple[str, list[str]]:
    """Return a text without its secrets, and these."""
    if len(text) <= _LONGEST and not _SUSPECT.search(text):
        return sendable_text(text), []
    read = sendable_text(text[:_READ])
    left_out = max(len(read) - _LONGEST, 0) + len(text) - len(text[:_READ])
    secrets: list[str] = []
    end = _secret_begins(read)
    if end is not None:
        secrets.append(read[end:])
        read, left_out = read[:end] + SHOWN, 0

    def taken_out(found: re.Match[str]) -> str:
        secrets.append(found[1])
        return found[0].replace(found[1], SHOWN, 1)

    def without_login(found: re.Match[str]) -> str:
        """Take what is between ``://`` and the last ``@`` out of a word."""
        head, scheme, rest = found[0].partition("://")
        login, at, host = rest.rpartition("@")
        if not (scheme and at and login):
            return found[0]
        secrets.append(login)
        return f"{head}://{SHOWN}@{host}"

    if "://" in read:
        read = _UNBROKEN.sub(without_login, read)
        if len(text) > _READ:
            read = _CUT_URL.sub(taken_out, read)
    return (f"{read[:_LONGEST]}… ({left_out} more)" if left_out else read[: _LONGEST + len(SHOWN)]), secrets


def _secret_begins(text: str) -> int | None:
    named = [
        next((found.end() for found in pattern.finditer(text) if is_secret_name(found[1])), None)
        for pattern in (_ASSIGNED, _OPTION)
    ]
    plain = _PLAIN.search(text)
    return min((end for end in (*named, plain and plain.end()) if end is not None), default=None)


@dataclass(frozen=True)
class Masked:
    """What may be shown of parameters.

    Attributes:
        params: a copy without secrets, short, that has a form in JSON and on the wire.
        secrets: what was taken out, as texts, as far as it is worth looking for.
        changed: whether something was taken out for being a secret.
    """

    params: Any
    secrets: tuple[str, ...] = ()
    changed: bool = False

    def clean(self, message: str, subject: str = "") -> str:
        """Return a message about the request in which nothing of the secrets is left.

        Args:
            message: it may quote parameters.
            subject: what the request was about; a name, that says nothing of what follows it.
        """
        head, mark, tail = message.partition(f'"{subject}": ') if subject else ("", "", message)
        if not mark:
            head, tail = "", message
        return head + mark + (self._cleaned(tail) if self.changed else _short(tail))

    def _cleaned(self, text: str) -> str:
        for secret in self.secrets:
            for form in (secret, repr(secret)[1:-1]):
                head, begun, _ = text.partition(form[:_BEGINNING])
                text = head + SHOWN if begun else text
        return mask_text(text)


def mask(params: Any) -> Masked:
    """Return what may be shown of a request's parameters.

    Args:
        params: as the request had them; they are not changed. What it costs does not grow with their size.
    """
    masker = _Masker()
    shown = masker.shown(params, 0)
    secrets = sorted({secret for secret in masker.secrets if len(secret) >= _TELLING}, key=len, reverse=True)
    if secrets:
        shown = _scrubbed(shown, [secret for secret in secrets if len(secret) >= _BEGINNING])
    return Masked(shown, tuple(secrets), masker.changed)


def _scrubbed(shown: Any, secrets: list[str]) -> Any:
    """Return what is shown without the secrets where they stand a second time, under another name."""
    if isinstance(shown, dict):
        return {_scrubbed(key, secrets): _scrubbed(value, secrets) for key, value in shown.items()}
    if isinstance(shown, list):
        return [_scrubbed(value, secrets) for value in shown]
    return SHOWN if isinstance(shown, str) and any(_is_in(secret, shown) for secret in secrets) else shown


def _is_in(secret: str, shown: str) -> bool:
    return secret in shown or (len(shown) > _LONGEST and secret[:_BEGINNING] in shown)  # it may have been cut


class _Masker:
    """Goes through the parameters of one request.

    Attributes:
        secrets: what was taken out.
        changed: whether something was.
    """

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self.changed = False
        self._room = _MOST
        self._bytes = _ROOM

    @property
    def _is_full(self) -> bool:
        return self._room <= 0 or self._bytes <= 0

    def shown(self, value: Any, depth: int) -> Any:
        """Return what may be shown of a value."""
        self._room -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, int | float):
            return _number(value)
        return self._container(value, depth)

    def _container(self, value: Any, depth: int) -> Any:
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return _kind(value)
        if depth >= _DEEPEST or self._is_full:
            return f"… ({len(value)} values)"
        return self._map(value, depth) if isinstance(value, Mapping) else self._items(value, depth)

    def _map(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        items = _first(value.items(), self._room)
        # {"name": "password", "value": ...}
        named = {id(item) for _, item in items if _is_label(item)}
        shown: dict[str, Any] = {}
        for key, item in items:
            if self._is_full:
                break
            secret = is_secret_name(key) or (bool(named) and id(item) not in named)
            name = key.decode("latin-1") if isinstance(key, bytes) else str(key)
            shown[self._text(name)] = self._secret(item) if secret else self.shown(item, depth + 1)
        if len(value) > len(shown):
            shown["…"] = f"{len(value) - len(shown)} more"
        return shown

    def _items(self, value: Any, depth: int) -> list[Any]:
        shown: list[Any] = []
        named = False  # ["--password", ...]
        for item in _first(value, self._room):
            if self._is_full:
                break
            shown.append(self._secret(item) if named else self.shown(item, depth + 1))
            named = _is_label(item)
        if len(value) > len(shown):
            shown.append(f"… ({len(value) - len(shown)} more)")
        return shown

    def _text(self, text: str) -> str:
        shown, secrets = _without_secrets(text)
        self.secrets += secrets[: max(_MOST - len(self.secrets), 0)]
        self.changed = self.changed or bool(secrets)
        self._bytes -= 2 + len(shown) if shown.isascii() else 2 + len(shown.encode("ascii", "backslashreplace"))
        return shown

    def _secret(self, value: Any) -> Any:
        """Take a secret out; that there is none may be shown."""
        self._room -= 1
        if value is None or value == "":
            return value
        self.changed = True
        self._remember(value, 0)
        return SHOWN

    def _remember(self, value: Any, depth: int) -> None:
        if len(self.secrets) >= _MOST or depth > _DEEPEST:
            return
        if isinstance(value, Mapping):
            value = [part for pair in _first(value.items(), _MOST) for part in pair]
        if isinstance(value, list | tuple | set | frozenset):
            for item in _first(value, _MOST):
                self._remember(item, depth + 1)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            self.secrets.append(str(value)[:_READ])


def _first(values: Iterable[Any], most: int) -> list[Any]:
    return [value for value, _ in zip(values, range(most), strict=False)]


def _number(value: float) -> Any:
    if isinstance(value, int):
        return int(value) if INT_MIN <= value <= INT_MAX else f"an integer of {value.bit_length()} bits"
    return float(value) if math.isfinite(value) else str(value)


def _kind(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes | bytearray) else f"a {type(value).__name__}"


def _short(text: str) -> str:
    text = sendable_text(text[: 2 * _LONGEST])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
