"""Agents without a router, as agent authors build them for their own tests."""

from typing import Any
from unittest.mock import Mock

from ocs.ocs_agent import OCSAgent
from ocs.wamp.lean_autobahn import ComponentConfig
from tests.harness.reactor import SteppedReactor


def site_args(**attributes: Any) -> Mock:
    """Parsed arguments of which only what an agent needs is real."""
    args = Mock()
    args.log_dir = None
    args.access_policy = ""
    args.configure_mock(**attributes)
    return args


def unconnected_agent(reactor: SteppedReactor, **attributes: Any) -> OCSAgent:
    """An agent on a stepped reactor, which will not find a router."""
    return OCSAgent(
        ComponentConfig("realm", {}),
        site_args(**attributes),
        address="observatory.test-1",
        class_name="TestAgent",
        reactor=reactor,
    )


class Log:
    """Takes what is logged and remembers it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda text="", **values: self.lines.append((level, text.format(**values)))

    def of(self, level: str) -> list[str]:
        return [text for kind, text in self.lines if kind == level]
