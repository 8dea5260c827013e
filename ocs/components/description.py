"""What a component says of itself, and where it is for those who ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocs.components.names import ComponentId, Prefix

__all__ = ["Description"]


@dataclass(frozen=True)
class Description:
    """A component that is registered.

    Attributes:
        component: prefix and type.
        uri: the procedure by whose registration it exists.
        metadata: its own words, to be taken as a stranger's: ``pid``, ``host``, ``started`` (unix s), ``instanceId``,
            ``agentPrefix`` of the SpawnAgent that has started it; of a sequencer ``sequenceComponent``; of a Machine
            ``address``, its OCS address.
    """

    component: ComponentId
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def location(self) -> dict[str, Any]:
        """Return it as a ``WampLocation``, the way it stands in answers."""
        return {
            "_type": "WampLocation",
            "connection": {**self.component.to_json(), "connectionType": "wamp"},
            "uri": self.uri,
            "metadata": dict(self.metadata),
        }

    def metadata_prefix(self, key: str) -> Prefix | None:
        """Return a prefix that it gives in its metadata; None where it gives none that is one.

        Args:
            key: of the metadata: ``agentPrefix``, or ``sequenceComponent``.
        """
        try:
            return Prefix.parse(self.metadata[key])
        except (KeyError, ValueError):  # metadata are a stranger's words
            return None

    def where(self) -> str:
        """Return in words where it is."""
        known = self.metadata
        words = [
            f"on {known['host']}" if known.get("host") else "",
            f"process {known['pid']}" if known.get("pid") else "",
            f"started by {known['agentPrefix']}" if known.get("agentPrefix") else "",
        ]
        return ", ".join(word for word in words if word) or self.uri
