"""What clients ask for: `(instance-id | "all", "up" | "down")`, checked, and applied to the records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocs.agents.host_manager.instances import TARGETS, ManagedInstance
from ocs.params import ParamError

__all__ = ["ALL", "apply_requests", "apply_restarts", "checked_ids", "checked_requests"]

ALL = "all"
"""Means every instance that is managed; what is only watched has to be named."""

Request = tuple[str, str]


def checked_requests(value: Any) -> list[Request]:
    """Return what a client gave for ``requests``.

    Raises:
        ParamError: it is not a list of pairs; the text names the entry.
    """
    if not isinstance(value, list | tuple):
        raise ParamError(f"requests must be a list of (instance_id, target_state), not {value!r:.80}.")
    return [_checked_request(entry) for entry in value]


def _checked_request(entry: Any) -> Request:
    match entry:
        case [str(instance_id), str(target)] if target in TARGETS and instance_id:
            return instance_id, target
    raise ParamError(f"requests has {entry!r:.80}; an entry is (instance_id or 'all', 'up' or 'down').")


def checked_ids(value: Any) -> list[str]:
    """Return what a client gave for a list of instance-ids; one alone need not be a list.

    Raises:
        ParamError: it is not a list of texts.
    """
    ids = [value] if isinstance(value, str) else value
    if not isinstance(ids, list | tuple) or not all(isinstance(item, str) for item in ids):
        raise ParamError(f"instances must be a list of instance-ids or 'all', not {value!r:.80}.")
    return list(ids)


def apply_requests(instances: Mapping[str, ManagedInstance], requests: Sequence[Request]) -> list[str]:
    """Set targets, in the order of the requests.

    Returns:
        The instance-ids that nobody knows.
    """
    for instance_id, target in requests:
        for instance in _meant(instances, instance_id):
            instance.target_state, instance.wished = target, True
            if target == "up":
                _forgive(instance)
    return _not_known(instances, [instance_id for instance_id, _ in requests])


def apply_restarts(instances: Mapping[str, ManagedInstance], ids: Sequence[str]) -> list[str]:
    """Have instances end and start again; "all" means those that are to be up.

    Returns:
        The instance-ids that nobody knows.
    """
    for instance_id in ids:
        for instance in _meant(instances, instance_id):
            if instance_id == ALL and instance.target_state != "up":
                continue
            instance.target_state, instance.wished = "up", True
            instance.bounce = instance.next_action in ("up", "wait_start", "start_at")
            _forgive(instance)
    return _not_known(instances, ids)


def _forgive(instance: ManagedInstance) -> None:
    """Let a person's wish count at once, whatever failed before."""
    instance.failures = 0
    if instance.next_action == "start_at":
        instance.at = 0


def _meant(instances: Mapping[str, ManagedInstance], instance_id: str) -> Iterable[ManagedInstance]:
    if instance_id != ALL:
        chosen = [instances[instance_id]] if instance_id in instances else []
    else:
        chosen = [instance for instance in instances.values() if not instance.passive_tracking]
    return [instance for instance in chosen if instance.management != "retired"]


def _not_known(instances: Mapping[str, ManagedInstance], ids: Iterable[str]) -> list[str]:
    known = {ALL, *(key for key, instance in instances.items() if instance.management != "retired")}
    return [instance_id for instance_id in dict.fromkeys(ids) if instance_id not in known]
