"""The records of all instances, and how a reading of the site config file changes them. Starts nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from ocs.agents.host_manager.instances import HOSTED, ManagedInstance
from ocs.agents.host_manager.runner import Runner
from ocs.scf.changes import Change, changes
from ocs.site_config import InstanceConfig

__all__ = ["Roster", "name_class", "record_of"]


def record_of(config: InstanceConfig, *, service_prefix: str = "ocs-") -> ManagedInstance:
    """Return a new record for an instance of the site config file; it has no runner yet."""
    management, target = config.manage.split("/")
    hosted = management == "host"
    record = ManagedInstance(
        management,
        "",
        config.instance_id,
        "",
        operable=hosted,
        agent_script=HOSTED if hosted else f"{service_prefix}{config.instance_id}",
        target_state=target,
        start_level=config.start_level,
        restart=config.restart,
    )
    name_class(record, config.agent_class, "" if hosted else "[d?]")
    return record


def name_class(record: ManagedInstance, agent_class: str, mark: str) -> None:
    """Give a record its class, with the mark of how it runs."""
    record.agent_class = f"{agent_class}{mark}"
    record.full_name = f"{record.agent_class}:{record.instance_id}"


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
        yield from (name for name in self.wanted if name in self._records)
        yield from (name for name in self._records if name not in self.wanted)

    def __len__(self) -> int:
        return len(self._records)

    def take_reading(self, instances: Iterable[InstanceConfig]) -> list[Change]:
        """Follow the file: add what is new, and let go what is no longer there; targets of known ones stay.

        Returns:
            What has changed since the last reading.
        """
        before, self.wanted = self.wanted, {config.instance_id: config for config in instances}
        found = changes(before.values(), self.wanted.values())
        for instance_id, record in list(self._records.items()):
            config = self.wanted.get(instance_id)
            if config is None or (config.manage.split("/")[0] == "host") != (record.agent_script == HOSTED):
                _retire(record)
            else:
                _follow(record, config)
        self.require_restarts(found)
        self.admit()
        return found

    def require_restarts(self, found: Iterable[Change]) -> None:
        """Mark what runs otherwise than it would be started now."""
        for change in found:
            record = self._records.get(change.instance_id)
            if record and change.kind == "changed" and change.restart_required and _runs(record):
                record.changed = record.restart_required = True

    def admit(self) -> None:
        """Add what the file names and has no record yet."""
        for instance_id, config in self.wanted.items():
            if instance_id not in self._records:
                self.add(record_of(config, service_prefix=self._prefix))

    def add(self, record: ManagedInstance) -> None:
        """Add a record, with a runner."""
        record.prot = self._make_runner(record)
        self._records[record.instance_id] = record

    def discard(self, instance_id: str) -> None:
        """Forget a record."""
        self._records.pop(instance_id, None)

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


def _runs(record: ManagedInstance) -> bool:
    return record.prot is not None and record.prot.status[0] is True


def _retire(record: ManagedInstance) -> None:
    if not record.passive_tracking:
        record.management, record.target_state, record.bounce = "retired", "down", False


def _follow(record: ManagedInstance, config: InstanceConfig) -> None:
    management, target = config.manage.split("/")
    if record.management == "retired":  # it is back before it was down
        record.management, record.retired, record.target_state, record.wished = management, False, target, False
    record.start_level = config.start_level
    record.restart = config.restart
    mark = record.agent_class[record.agent_class.find("[") :] if "[" in record.agent_class else ""
    name_class(record, config.agent_class, mark)
