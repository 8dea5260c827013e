"""The records of all instances, and how a reading of the site config file changes them. Starts nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from ocs.agents.host_manager.instances import ManagedInstance
from ocs.agents.host_manager.runner import Runner
from ocs.site_config import InstanceConfig

__all__ = ["HOSTED", "Roster", "record_of"]

HOSTED = "__plugin__"
"""``agent_script`` of what the host runs."""


def record_of(config: InstanceConfig, *, service_prefix: str = "ocs-") -> ManagedInstance:
    """Return a new record for an instance of the site config file; it has no runner yet."""
    management, target = config.manage.split("/")
    hosted = management == "host"
    agent_class = config.agent_class if hosted else f"{config.agent_class}[d?]"
    return ManagedInstance(
        management,
        agent_class,
        config.instance_id,
        f"{agent_class}:{config.instance_id}",
        operable=hosted,
        agent_script=HOSTED if hosted else f"{service_prefix}{config.instance_id}",
        target_state=target,
        start_level=config.start_level,
        restart=getattr(config, "restart", "always"),
    )


class Roster(Mapping[str, ManagedInstance]):
    """The records, by instance-id, in the order of the file.

    Args:
        make_runner: gives a new record its runner.
        service_prefix: of the docker services.
    """

    def __init__(self, make_runner: Callable[[ManagedInstance], Runner], service_prefix: str = "ocs-") -> None:
        self.wanted: dict[str, InstanceConfig] = {}
        """What the file says, by instance-id."""
        self._make_runner = make_runner
        self._prefix = service_prefix
        self._records: dict[str, ManagedInstance] = {}

    def __getitem__(self, key: str) -> ManagedInstance:
        return self._records[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def take_reading(self, instances: Iterable[InstanceConfig]) -> None:
        """Follow the file: add what is new, and let go what is no longer there; targets of known ones stay."""
        before, self.wanted = self.wanted, {config.instance_id: config for config in instances}
        for instance_id, record in self._records.items():
            config = self.wanted.get(instance_id)
            if config is None or config.manage.split("/")[0] != _manager_of(record):
                _retire(record)
            else:
                _revise(record, config, before.get(instance_id))
        self.admit()

    def admit(self) -> None:
        """Add what the file names and has no record yet."""
        for instance_id, config in self.wanted.items():
            if instance_id not in self._records:
                self.add(record_of(config, service_prefix=self._prefix))

    def add(self, record: ManagedInstance) -> None:
        """Add a record, with a runner."""
        record.prot = self._make_runner(record)
        self._records[record.instance_id] = record

    def drop_retired(self) -> list[ManagedInstance]:
        """Forget what has been retired and is down, and return it."""
        gone = [record for record in self._records.values() if record.retired]
        for record in gone:
            del self._records[record.instance_id]
        return gone

    def clear(self) -> None:
        """Forget everything."""
        self._records.clear()
        self.wanted = {}


def _manager_of(record: ManagedInstance) -> str:
    return "host" if record.agent_script == HOSTED else "docker"


def _retire(record: ManagedInstance) -> None:
    record.management, record.target_state = "retired", "down"
    record.passive_tracking = record.bounce = False


def _revise(record: ManagedInstance, config: InstanceConfig, before: InstanceConfig | None) -> None:
    management, target = config.manage.split("/")
    if record.management == "retired":
        record.management, record.retired, record.target_state = management, False, target
    record.start_level = config.start_level
    record.restart = getattr(config, "restart", "always")
    changed = before is not None and (before.arguments, before.agent_class) != (config.arguments, config.agent_class)
    if changed and record.next_action not in ("down", "start", "start_at"):
        record.restart_required = True
    if before is not None and before.agent_class != config.agent_class:
        record.agent_class = record.agent_class.replace(before.agent_class, config.agent_class, 1)
        record.full_name = f"{record.agent_class}:{record.instance_id}"
