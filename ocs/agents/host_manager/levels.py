"""Who has to wait for whom: an instance is launched when those of lower levels are ready, or cannot be waited for."""

from collections.abc import Iterable, Mapping

from ocs.agents.host_manager.instances import ManagedInstance

__all__ = ["READY_PATIENCE", "holds"]

READY_PATIENCE = 30.0
"""How long higher levels wait for an instance that has been launched and is not heard, in seconds."""


def holds(instances: Iterable[ManagedInstance], now: float, *, linked: bool = True) -> Mapping[str, str]:
    """Return who must not be launched now.

    Args:
        instances: all of them.
        now: unix s, by `steady_time`.
        linked: whether the router is there: without one no agent can do anything.

    Returns:
        Why, by instance-id.
    """
    wanted = [instance for instance in instances if instance.target_state == "up"]
    if not linked:
        return {instance.instance_id: "waits for the router" for instance in wanted if not instance.passive_tracking}
    first: dict[int, ManagedInstance] = {}
    for instance in wanted:
        if _keeps_others_waiting(instance, now):
            first.setdefault(instance.start_level, instance)
    if not first:
        return {}
    lowest = min(first)
    reason = f"waits for {first[lowest].instance_id} (start-level {lowest})"
    return {instance.instance_id: reason for instance in wanted if instance.start_level > lowest}


def _keeps_others_waiting(instance: ManagedInstance, now: float) -> bool:
    if instance.ready or instance.passive_tracking or instance.failures or instance.next_action in ("?", "start_at"):
        return False
    return instance.launched is None or now - instance.launched < READY_PATIENCE
