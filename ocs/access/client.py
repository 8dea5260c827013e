"""Passwords as a client finds them, and exclusive access as a client asks for it."""

import logging
import os
import stat
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ocs.access.director import AccessPasswordItem
from ocs.access.fields import CredLevel
from ocs.access.passwords import HashedPass
from ocs.access.rules import AgentSpec
from ocs.errors import AccessError

__all__ = ["PASSWORDS_VARIABLE", "ExclusiveAccessClient", "client_get_password"]

PASSWORDS_VARIABLE = "OCS_PASSWORDS_FILE"
PASSWORDS_FILE = "~/.ocs-passwords.yaml"

GRANT_TIME = 100.0
"""How long exclusive access is asked for where the caller does not say, in seconds."""

_log = logging.getLogger("ocs.access")


def client_get_password(privs: str | int | None, agent_class: str | None, instance_id: str | None) -> str:
    """Find the password that a client sends with its requests to an agent.

    Args:
        privs: the password itself; or a level: 1 needs no password, 2 and 3 are looked up in the password file
            (``$OCS_PASSWORDS_FILE``, else ``~/.ocs-passwords.yaml``). None is as 1.
        agent_class: the agent's class, for the file's rules.
        instance_id: the agent's instance-id, for the file's rules.

    Returns:
        The password; an empty one, with a warning in the log, where no rule of the file fits.

    Raises:
        AccessError: ``privs`` is neither, or the password file is missing or has a mistake in it.
    """
    if isinstance(privs, str):
        return privs
    wanted = _level(privs)
    if wanted == CredLevel.BASIC:
        return ""
    path = Path(os.environ.get(PASSWORDS_VARIABLE) or PASSWORDS_FILE).expanduser()
    agent = AgentSpec(instance_id or "", agent_class or "")
    password = _most_specific(_read_passwords(path), agent, wanted)
    if password is None:
        _log.warning("%s has no password for level %s of %s (%s)", path, wanted, agent.instance_id, agent.agent_class)
        return ""
    return password


def _level(privs: Any) -> CredLevel:
    if privs is None:
        return CredLevel.BASIC
    if not isinstance(privs, int) or isinstance(privs, bool) or not CredLevel.BASIC <= privs <= CredLevel.FULL:
        raise AccessError(f"privs is {privs!r:.40}, it must be a password or a level, 1 to 3")
    return CredLevel(privs)


def _read_passwords(path: Path) -> list[AccessPasswordItem]:
    import yaml  # noqa: PLC0415 - slow to load, and needed only where levels are asked for

    try:
        text = path.read_text(encoding="utf-8")
        items = yaml.safe_load(text) or []
    except FileNotFoundError:
        raise AccessError(
            f"password file {path} does not exist; make it, or name another in ${PASSWORDS_VARIABLE}, or "
            f"give privs as the password itself"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"password file {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise AccessError(f"password file {path} is not YAML{_place(error)}") from None
    if not isinstance(items, list):
        raise AccessError(f"password file {path} must hold a list of rules")
    _warn_if_open(path)
    return [AccessPasswordItem.from_dict(item, f"password file {path}, rule {i}") for i, item in enumerate(items)]


def _place(error: Any) -> str:
    """Say where, and not what: the line may hold a password."""
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


@lru_cache(maxsize=16)
def _warn_if_open(path: Path) -> None:
    """Warn once a run."""
    if path.stat().st_mode & stat.S_IROTH:
        _log.warning("password file %s can be read by everybody on this host; chmod 600 it", path)


def _most_specific(items: list[AccessPasswordItem], agent: AgentSpec, wanted: CredLevel) -> str | None:
    """Return the password of the rule that names the agent most closely, of equal ones the last."""
    best, password = -1, None
    for item in items:
        scope, found = item.get_scope_spec(), item.password_for(wanted)
        if found is not None and scope.check(agent) and scope.get_specificity() >= best:
            best, password = scope.get_specificity(), found
    return None if password is None else _clear(password)


def _clear(password: str | HashedPass) -> str:
    if isinstance(password, str):
        return password
    if password.hash == "none":
        return password.value
    raise AccessError(f"the password file holds a {password.hash} hash; a client needs the password itself")


class _Caller(Protocol):
    """The part of `ocs.client_http.ControlClient` that is needed here."""

    def special(self, subaddr: str, *args: Any, **kwargs: Any) -> Any: ...


class ExclusiveAccessClient:
    """Asks an Access Director for exclusive access, and gives it back.

    Args:
        target: instance-id of the Access Director.
        grantee: who asks; those who are locked out are told.
        grant_name: the block of the director's configuration that is asked for.
        password: the password that the block asks for.
        client: who to call through; by default a control client for ``target``, made from the site config.

    Attributes:
        password: the password that agents accept while the grant lasts, else None.
        expire_at: when it ends, unix seconds, else None.
        last_response: the director's last answer.
    """

    NEVER_ASKED: ClassVar[dict[str, Any]] = {"error": "nothing asked yet"}

    def __init__(
        self,
        target: str,
        grantee: str,
        grant_name: str,
        password: str | None = None,
        *,
        client: _Caller | None = None,
    ) -> None:
        self._client = client or _control_client(target)
        self._request = {"grantee": grantee, "grant_name": grant_name, "password": password}
        self.password: str | None = None
        self.expire_at: float | None = None
        self.last_response = dict(self.NEVER_ASKED)

    def acquire(self, expire_at: float | None = None) -> tuple[bool, dict[str, Any]]:
        """Ask for the grant; if it is given, ``password`` and ``expire_at`` are set.

        Args:
            expire_at: when it should end, unix seconds; by default 100 s from now.

        Returns:
            Whether it was given, and the director's answer.

        Raises:
            ControlClientError: the director could not be reached.
        """
        return self._ask_until("acquire", expire_at)

    def renew(self, expire_at: float | None = None) -> tuple[bool, dict[str, Any]]:
        """Ask for a later end of the grant; otherwise as `acquire`."""
        return self._ask_until("renew", expire_at)

    def release(self) -> tuple[bool, dict[str, Any]]:
        """Give the grant back; the password is forgotten whatever the director answers."""
        self.password = self.expire_at = None
        return self._ask(action="release")

    def _ask_until(self, action: str, expire_at: float | None) -> tuple[bool, dict[str, Any]]:
        until = time.time() + GRANT_TIME if expire_at is None else expire_at
        granted, answer = self._ask(action=action, expire_at=until)
        if granted:
            self.password = answer.get("password", self.password)
            self.expire_at = answer.get("expire_at", self.expire_at)
        return granted, answer

    def _ask(self, **details: Any) -> tuple[bool, dict[str, Any]]:
        answer = self._client.special("request_exclusive", **details, **self._request)
        if not isinstance(answer, dict):
            answer = {"error": f"the access director's answer is of type {type(answer).__name__}, not a map"}
        self.last_response = answer
        return "error" not in answer, answer


def _control_client(target: str) -> _Caller:
    from ocs.site_config import get_control_client  # noqa: PLC0415 - only who calls needs the site config

    client: _Caller = get_control_client(target)
    return client
