"""The site file of a run: the user's, but for what is different in this run; comments survive where they can."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ocs.errors import SiteConfigError
from ocs.scf import reading
from ocs.up.hub import Hub

__all__ = ["MANAGER_CLASS", "SiteEdit"]

MANAGER_CLASS = "HostManager"

_INSTANCES = "agent-instances"


@dataclass(frozen=True, slots=True)
class SiteEdit:
    """What is different in the site file of a run.

    Args:
        host: the host that is run.
        old: the router's addresses and the keys folder in the user's file.
        new: those in force.
        manager: instance-id of a HostManager that is added; None: the host has one.
        kept_down: instance-ids that cannot be started here.
    """

    host: str
    old: Hub
    new: Hub
    manager: str | None = None
    kept_down: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether the user's file is as it should be."""
        return self.old == self.new and self.manager is None and not self.kept_down

    def apply(self, text: str, path: str) -> str:
        """Return the file of the run.

        Args:
            text: the user's file, which has no mistake.
            path: where it is, for messages.

        Raises:
            SiteConfigError: it has one all the same.
        """
        wanted = self._wanted(reading.parse(text, path))
        edited = self._edited(text)
        try:
            if reading.parse(edited, path) == wanted:
                return edited
        except SiteConfigError:
            pass
        return str(yaml.safe_dump(wanted, sort_keys=False))

    def _wanted(self, data: Mapping[str, Any]) -> dict[str, Any]:
        urls = {"wamp_server": self.new.wamp_server, "wamp_http": self.new.wamp_http}
        if self.new.keys:  # a relative one would be meant from another folder
            urls["keys"] = self.new.keys
        # A key may be missing, or stand alone with nothing below it.
        host = next(section for name, section in data["hosts"].items() if str(name) == self.host)
        added = [self._manager_entry()] if self.manager else []
        changed = {
            **host,
            **{key: url for key, url in urls.items() if key in host},
            _INSTANCES: added + [self._entry(entry) for entry in host.get(_INSTANCES) or ()],
        }
        hosts = {name: changed if section is host else section for name, section in data["hosts"].items()}
        return {**data, "hub": {**data["hub"], **urls}, "hosts": hosts}

    def _manager_entry(self) -> dict[str, str]:
        return {"agent-class": MANAGER_CLASS, "instance-id": str(self.manager)}

    def _entry(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**entry, "manage": "host/down"} if entry["instance-id"] in self.kept_down else entry

    def _edited(self, text: str) -> str:
        """Return the text with lines put in and addresses replaced; it may have gone wrong: the caller looks."""
        lines = text.splitlines(keepends=True)
        for number, count, new in sorted(self._new_lines(text), reverse=True):
            lines[number : number + count] = [new]
        edited = "".join(lines)
        for old, new in ((self.old.wamp_server, self.new.wamp_server), (self.old.wamp_http, self.new.wamp_http)):
            edited = edited.replace(old, new)
        return edited

    def _new_lines(self, text: str) -> list[tuple[int, int, str]]:
        """Return what is to be put in: the number of lines before it, how many lines it stands for, and itself."""
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        return [*self._key_lines(document), *self._instance_lines(document)]

    def _key_lines(self, document: Any) -> list[tuple[int, int, str]]:
        if not self.new.keys:
            return []
        line = f"keys: {json.dumps(self.new.keys)}  # put in by ocs up: who has one of these keys may connect\n"
        found = []
        for section in (("hub",), ("hosts", self.host)):
            own, _ = _find(document, (*section, "keys"))
            if own is not None:
                found.append((own.start_mark.line, 1, " " * own.start_mark.column + line))
            elif section == ("hub",):
                head, hub = _find(document, section)
                found.append((head.end_mark.line + 1, 0, " " * hub.start_mark.column + line))
        return found

    def _instance_lines(self, document: Any) -> list[tuple[int, int, str]]:
        key, instances = _find(document, ("hosts", self.host, _INSTANCES))
        if not isinstance(instances, yaml.SequenceNode):
            return []
        found = []
        if self.manager:
            indent = " " * instances.start_mark.column
            entry = f"{indent}- agent-class: {MANAGER_CLASS}  # added by ocs up: it starts all the others\n"
            found.append((key.end_mark.line + 1, 0, f"{entry}{indent}  instance-id: {self.manager}\n"))
        for item in instances.value:
            name_key, name = _find(item, ("instance-id",))
            if name is not None and name.value in self.kept_down:
                indent = " " * name_key.start_mark.column
                found.append((name.end_mark.line + 1, 0, f"{indent}manage: host/down  # put in by ocs up\n"))
        return found


def _find(node: Any, keys: Sequence[str]) -> tuple[Any, Any]:
    """Return the last key's node and its value's; a pair of None where there is none."""
    key = None
    for wanted in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        key, node = next((pair for pair in pairs if pair[0].value == wanted), (None, None))
    return key, node
