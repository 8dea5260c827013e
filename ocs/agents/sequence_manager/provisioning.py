"""Carrying out a provision: sequence components are killed and spawned through the agent service, a few at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ocs.agents.sequence_manager.choosing import ProvisionPlan
from ocs.components.names import ComponentId, Prefix
from ocs.errors import OCSError
from ocs.params import ParamError

__all__ = ["Service", "carry_out", "checked_counts", "summary"]

AT_ONCE = 4
"""Requests to the agent service at the same time."""
MOST = 100
"""Sequence components per SpawnAgent."""


class Service(Protocol):
    """What is asked of the agent service; each call blocks, answers ``Failed``, or raises an `OCSError`."""

    def spawn_sequence_component(self, agent_prefix: str, name: str) -> Any:
        """Spawn a sequence component."""

    def kill_component(self, component_id: ComponentId) -> Any:
        """Kill a component."""


def checked_counts(value: Any) -> dict[Prefix, int]:
    """Return a provision's configuration.

    Args:
        value: SpawnAgent's prefix → how many sequence components, as a client sent it.

    Raises:
        ParamError: it is none.
    """
    if not isinstance(value, Mapping) or not value:
        raise ParamError(
            "config must be a map of SpawnAgents' prefixes to how many sequence components they are to have."
        )
    return dict(_checked(agent, number) for agent, number in value.items())


def _checked(agent: Any, number: Any) -> tuple[Prefix, int]:
    try:
        prefix = Prefix.parse(agent)
    except (ValueError, TypeError, AttributeError) as error:
        raise ParamError(f"config: {error}") from None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MOST:
        raise ParamError(f"config: {prefix} must have from 0 to {MOST} sequence components, not {number!r:.40}.")
    return prefix, number


def carry_out(plan: ProvisionPlan, service: Service) -> list[dict[str, Any]]:
    """Kill, then spawn; what fails keeps nothing else from being done.

    Args:
        plan: what is to be done.
        service: the agent service.

    Returns:
        What became of each: ``component``, ``agent`` (of those spawned), ``action``, ``ok``, ``message``.
    """
    results = [_entry(prefix, "kept") for prefix in plan.kept]
    results += [
        _entry(prefix, "kill", ok=False, message=f"runs the sequencer {sequencer}: shut it down, or give force=True")
        for prefix, sequencer in plan.busy.items()
    ]
    results += [
        _entry(agent, "spawn", ok=False, message="there is no SpawnAgent of this name") for agent in plan.unknown
    ]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="provision") as pool:
        for phase in (_kills(plan, service), _spawns(plan, service)):
            results += pool.map(lambda work: work(), list(phase))
    return results


def _kills(plan: ProvisionPlan, service: Service) -> Iterator[Callable[[], dict[str, Any]]]:
    for prefix in plan.kill:
        component = ComponentId(prefix, "SequenceComponent")
        yield lambda prefix=prefix, component=component: _try(  # type: ignore[misc]
            prefix, "kill", lambda: service.kill_component(component)
        )


def _spawns(plan: ProvisionPlan, service: Service) -> Iterator[Callable[[], dict[str, Any]]]:
    for agent, names in plan.spawn.items():
        for name in names:
            yield lambda agent=agent, name=name: _try(  # type: ignore[misc]
                Prefix(agent.subsystem, name),
                "spawn",
                lambda: service.spawn_sequence_component(str(agent), name),
                agent=str(agent),
            )


def _try(prefix: Prefix, action: str, work: Callable[[], Any], **more: Any) -> dict[str, Any]:
    try:
        answer = work()
    except OCSError as error:
        return _entry(prefix, action, ok=False, message=str(error), **more)
    if isinstance(answer, Mapping) and answer.get("_type") == "Failed":
        return _entry(prefix, action, ok=False, message=str(answer.get("msg")), **more)
    return _entry(prefix, action, **more)


def _entry(prefix: Prefix, action: str, *, ok: bool = True, message: str = "", **more: Any) -> dict[str, Any]:
    return {"component": str(prefix), "action": action, "ok": ok, "message": message, **more}


def summary(results: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    """Return an operation's result: what was done, and what was not."""
    numbers = {"spawn": "spawned", "kill": "killed", "kept": "kept"}
    done = ", ".join(
        f"{sum(1 for each in results if each['ok'] and each['action'] == action)} {word}"
        for action, word in numbers.items()
    )
    failed = [f"{each['component']}: cannot {each['action']}: {each['message']}" for each in results if not each["ok"]]
    return not failed, f"{done}.{' ' if failed else ''}{'; '.join(failed)}"
