"""All dashboards, in the order in which an operator wants them."""

from typing import Final

from dashboards.boards import agent_service, alarms, feeds, hosts, operations, recording

__all__ = ["BOARDS"]

BOARDS: Final = (
    operations.BOARD,
    alarms.BOARD,
    feeds.BOARD,
    recording.BOARD,
    hosts.BOARD,
    agent_service.BOARD,
)
