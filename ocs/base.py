"""Response codes of a request and state codes of an operation, as they appear on the wire."""

from enum import IntEnum

__all__ = ["ERROR", "OK", "TIMEOUT", "OpCode", "ResponseCode"]


class ResponseCode(IntEnum):
    """How a request to an agent was answered: the first item of every reply."""

    OK = 0
    ERROR = -1
    TIMEOUT = 1


OK = ResponseCode.OK
ERROR = ResponseCode.ERROR
TIMEOUT = ResponseCode.TIMEOUT


class OpCode(IntEnum):
    """The state of an operation, as one number that can be plotted.

    Heartbeats carry these and the registry publishes them; Grafana maps them to colours.
    """

    NONE = 1
    """Has not run since the agent started."""
    STARTING = 2
    RUNNING = 3
    STOPPING = 4
    """Asked to stop or abort, and still at it."""
    SUCCEEDED = 5
    FAILED = 6
    EXPIRED = 7
    """The agent has fallen silent; set by the registry, never by an agent."""
    DEGRADED = 8
    """Running, but not able to do its work at the moment."""
