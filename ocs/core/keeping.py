"""Where an agent keeps what recorders have not had yet, how much, and for whom."""

import os
from pathlib import Path
from typing import Any

from ocs.core.callers import Caller
from ocs.keep.disk import DISK_BYTES
from ocs.keep.service import KeepService
from ocs.keys.permissions import may_record
from ocs.wamp.lean_autobahn import ApplicationError

__all__ = ["as_from", "keep_bytes", "keeping_of", "state_folder"]


def keeping_of(agent: Any, realm: Any) -> KeepService:
    """Return what keeps an agent's messages.

    Args:
        agent: the agent; of its ``site_args`` count ``state_dir`` and ``working_dir``, if they are texts.
        realm: the WAMP realm.
    """
    return KeepService(
        agent.agent_session_id,
        reactor=agent.reactor,
        log=agent.log,
        folder=state_folder(agent.site_args, realm, agent.agent_address),
        linked=lambda: agent.outbox.is_open,
        limit=keep_bytes(os.environ.get("OCS_KEEP_BYTES")),
    )


def as_from(caller: Caller, request: Any) -> Any:
    """Return a recorder's request as one that can be made by its caller alone.

    At a closed site the recorder's id gets its owner's name: whoever calls as another's recorder is a new one, and so
    makes the agent forget nothing.

    Args:
        caller: who has made it.
        request: what came over the wire.

    Raises:
        ApplicationError: ``wamp.error.not_authorized``, if its key is not that of an agent, as recorders are.
    """
    if caller.role is None:
        return request
    if not may_record(caller.role):
        raise ApplicationError(
            "wamp.error.not_authorized", f"{caller.name} has the role {caller.role}: recorders are agents"
        )
    if not isinstance(request, dict) or not isinstance(request.get("recorder"), str):
        return request
    return {**request, "recorder": f"{caller.name}/{request['recorder']}"}


def state_folder(site_args: Any, realm: Any, address: str) -> Path | None:
    """Return an agent's own folder, ``{state-dir}/{realm}/{address}``; None where there is no state-dir.

    Args:
        site_args: the parsed arguments; a mock's attributes, or those that an older script left out, count as absent.
        realm: the WAMP realm.
        address: the agent's address.
    """
    folder, base = getattr(site_args, "state_dir", None), getattr(site_args, "working_dir", None)
    if not isinstance(folder, str) or not folder or not isinstance(realm, str):
        return None
    root = Path(base if isinstance(base, str) else ".").expanduser() / Path(folder).expanduser()
    return root / _file_name(realm) / _file_name(address)


def _file_name(text: str) -> str:
    return text.replace("/", "_") if text.strip(".") else "_"


def keep_bytes(text: str | None) -> int:
    """Return how much an agent may keep on the disk, in bytes; what cannot be read as a number counts as not given."""
    try:
        return max(0, int(text)) if text else DISK_BYTES
    except ValueError:
        return DISK_BYTES
