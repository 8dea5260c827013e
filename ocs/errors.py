"""What can go wrong, a class per cause.

Every message names the thing, what is wrong with it, and what to do; programs print it as one line.
"""

import math
from typing import Any

__all__ = [
    "AccessError",
    "AgentClassError",
    "AgentServiceError",
    "AuditError",
    "AuthorisationError",
    "BlockMismatchError",
    "BusyError",
    "CallLostError",
    "ComponentTakenError",
    "ComposeFileError",
    "CrossbarNotFoundError",
    "DataFolderError",
    "DatabaseAwayError",
    "DatabaseLibraryError",
    "DatabaseTroubleError",
    "DockerError",
    "FeedError",
    "FeedKeyError",
    "FeedTypeError",
    "FeedValueError",
    "ForbiddenError",
    "HostManagerError",
    "HostNotFoundError",
    "InfluxOptionError",
    "InstanceNotFoundError",
    "InvalidRequestError",
    "IssuerError",
    "JournalError",
    "JournalInUseError",
    "JournalValueError",
    "KeyFolderError",
    "KeysError",
    "LocationError",
    "MalformedRequestError",
    "OCSError",
    "ObsModeError",
    "OperationError",
    "OperationFailedError",
    "OperationTimeoutError",
    "ReceiverError",
    "RecordingError",
    "RecordingLibraryError",
    "RefusedError",
    "RequestFailedError",
    "RouterAwayError",
    "RouterError",
    "SequenceError",
    "SequenceScriptError",
    "SimulatorError",
    "SiteConfigError",
    "SiteFileNotFoundError",
    "SpawnError",
    "StateTroubleError",
    "SupervisorInUseError",
    "TopicError",
    "UnauthenticatedError",
    "UnknownInstanceError",
    "WatchRulesError",
    "WatcherError",
]


class OCSError(Exception):
    """Base of the errors that are told to a person in one line, without a traceback."""

    def __str__(self) -> str:
        """Return the message as given, also where KeyError is a base and would quote it."""
        return str(self.args[0]) if self.args else self.__class__.__name__


class AccessError(OCSError, ValueError):
    """An access policy, rule, password file or director's configuration has a mistake in it."""


class SiteConfigError(OCSError):
    """The site config file is missing, cannot be read, or has a mistake in it."""


class SiteFileNotFoundError(SiteConfigError, FileNotFoundError):
    """There is no site config file where it was looked for."""


class HostNotFoundError(SiteConfigError, KeyError):
    """The site config file describes no host that this one could be."""


class InstanceNotFoundError(SiteConfigError, RuntimeError):
    """The instance is not described on this host, or its class alone does not tell which one is meant."""


class CrossbarNotFoundError(SiteConfigError, RuntimeError):
    """The crossbar program is not where the site config or PATH says."""


class AgentClassError(OCSError):
    """No installed plugin offers the agent's class, or its module cannot be loaded."""


class DataFolderError(OCSError):
    """The data folder of `ocs up` cannot be used: no permission, no space, or somebody else uses it."""


class SupervisorInUseError(OCSError):
    """Another process looks after the children of this folder."""


class DockerError(OCSError):
    """Docker or Compose is missing, does not answer, or refuses something; the text is theirs where they have one."""


class ComposeFileError(DockerError):
    """A compose file is missing, cannot be read, or has a mistake; the text has file and line."""


class HostManagerError(OCSError):
    """The HostManager of a host cannot be started, or runs already."""


class InvalidRequestError(OCSError, ValueError):
    """A recorder, or whoever else calls its procedure, asks an agent for something that makes no sense."""


class MalformedRequestError(InvalidRequestError):
    """A request to the agent service makes no sense.

    Args:
        message: the field, and what is wrong with it.
        kind: of the request, where that much could be read; else empty.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class RouterError(OCSError):
    """The crossbar router cannot be configured, started, stopped or reached."""


class ComponentTakenError(OCSError):
    """Another component has the name; the text says where it is."""


class SequenceError(OCSError):
    """A sequence, or the sequence manager, cannot do what it is asked to now."""


class SequenceScriptError(SequenceError, ValueError):
    """A sequence script is missing, not allowed, or has a mistake in it; the text has file and line."""


class SpawnError(OCSError):
    """A component cannot be spawned or killed; the text says why, and where it is if that is the reason."""


class SimulatorError(OCSError):
    """What is simulated cannot be written or sent."""


class ReceiverError(OCSError):
    """Datagrams cannot be received: the port is taken or not allowed, or the receiver does not start."""


class RefusedError(OCSError, ValueError):
    """A datagram is not what a publisher sends, or asks for something that nobody may have.

    Args:
        reason: one of few words, under which it is counted.
        detail: what is wrong with it, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RecordingError(OCSError):
    """The data folder cannot be used, or a recorded file cannot be read."""


class RecordingLibraryError(RecordingError, ImportError):
    """The library that writes and reads the housekeeping files is not installed."""

    @classmethod
    def because(cls, error: ImportError) -> "RecordingLibraryError":
        """Return the error that says what is missing and how to get it."""
        return error if isinstance(error, cls) else cls(f"Recorded files need so3g ({error}): pip install 'ocs[hk]'")


class DatabaseAwayError(OCSError):
    """A database server cannot be reached, or does not answer.

    Args:
        host: where it is looked for.
        port: its port.
        why: what came instead of an answer.
    """

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"the database at {host}:{port} cannot be reached: {why}")


class InfluxOptionError(OCSError, ValueError):
    """An option or a variable that says where points go is missing or makes no sense."""


class DatabaseLibraryError(OCSError, ImportError):
    """The library that writes the transfer database is not installed."""

    @classmethod
    def because(cls, error: ImportError) -> "DatabaseLibraryError":
        """Return the error that says what is missing and how to get it."""
        return cls(f"The transfer database needs SQLAlchemy ({error}): pip install 'ocs[pysmurf]'")


class DatabaseTroubleError(OCSError):
    """A database cannot be used now: locked, read-only, missing, full, damaged. A later attempt may succeed.

    Args:
        state: the kind of trouble, a word or two for reports and decisions.
        text: the line for the operator: the file, what is wrong with it, and what to do.
    """

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state
        self.text = text


class StateTroubleError(DatabaseTroubleError):
    """The same of the file in which an agent remembers how far it has come."""


class JournalError(OCSError):
    """A journal's folder cannot be used, or the journal is closed."""


class JournalInUseError(JournalError):
    """Somebody else writes the journal."""


class JournalValueError(JournalError, ValueError):
    """An entry has an index, a kind or a length that it cannot have."""


class FeedError(OCSError):
    """A message cannot be published; the text names the feed, the field and the reason."""


class FeedTypeError(FeedError, TypeError):
    """A value, or the message itself, is of a type that has no place in a feed."""


class FeedValueError(FeedError, ValueError):
    """A value is out of range, or lists differ in length."""


class FeedKeyError(FeedError, KeyError):
    """A message lacks ``block_name``, ``timestamp`` or ``data``."""


class BlockMismatchError(FeedValueError):
    """A sample's fields are not those that its block began with."""


class ControlClientError(OCSError, RuntimeError):
    """A call to an agent brought no result.

    ``args[0]`` is a list as WAMP's error message is: items 4, 5 and 6 are the error's name, its arguments (a list) and
    its keyword arguments (a dict). The names ``client_http.error.*`` are the client's own, ``wamp.error.*`` the
    router's; others come from the agent.

    Args:
        record: the list.
        summary: what happened and what to do, in one line.
    """

    def __init__(self, record: list[Any], summary: str = "") -> None:
        super().__init__(record)
        self.summary = summary

    def __str__(self) -> str:
        """Return the line for the operator."""
        return self.summary or f"{self.name}: {' '.join(map(str, self.args[0][5]))}"

    @property
    def name(self) -> str:
        """The error's name."""
        return str(self.args[0][4])


class ObsModeError(OCSError, ValueError):
    """The file of observing modes is missing, cannot be read, or has a mistake; the text has file and line."""


class OperationError(OCSError, RuntimeError):
    """An operation did not do what was asked of it; the text says which, where, and what the agent says.

    Args:
        message: the line for the operator.
        reply: the agent's answer: code, message, session.
        op_name: the operation.
        instance_id: the agent.
    """

    def __init__(self, message: str, reply: Any = None, op_name: str = "", instance_id: str = "") -> None:
        super().__init__(message)
        self.reply = reply
        self.op_name = op_name
        self.instance_id = instance_id


class RequestFailedError(OperationError):
    """The agent refused the request: unknown, already active, a wrong parameter, too few privileges."""


class OperationFailedError(OperationError):
    """The operation ran, and ended without success."""


class OperationTimeoutError(OperationError, TimeoutError):
    """The operation had not ended in the time given."""


class TopicError(OCSError, ValueError):
    """What was given for a topic cannot be one."""


class UnknownInstanceError(OCSError, LookupError):
    """Nobody at the site has an instance of this name, or nobody manages it."""


class WatchRulesError(OCSError, ValueError):
    """The rules of the watcher cannot be read, or have a mistake; the text has file and line."""


class WatcherError(OCSError):
    """The watcher cannot do what it is asked to: there is no such rule, alarm or target."""


class KeyFolderError(OCSError):
    """The folder of the agent service's own keys is missing, has a mistake in it, or is open to others."""


class AuditError(OCSError):
    """An audit file is not where it was looked for, or cannot be read."""


class KeysError(OCSError):
    """A site's keys are missing, have a mistake in them, or do not admit who asks; the text is one line."""


class IssuerError(OCSError):
    """An OpenID Connect issuer's address is none that may be used, or its keys cannot be had."""


class AuthorisationError(OCSError):
    """A request to the agent service is not let in; the text is one line for whoever asked.

    Attributes:
        status: of the HTTP answer.
        retry_after: when (s from now) it may be worth another try with the same token; None: never.
    """

    status = 401

    def __init__(self, message: str, *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self._code = code

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers: what is asked for (RFC 6750), and when to come again."""
        text = "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in str(self))
        said = f', error="{self._code}", error_description="{text}"' if self._code else ""
        again = {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}
        return {"WWW-Authenticate": f'Bearer realm="ocs"{said}', **again}


class UnauthenticatedError(AuthorisationError):
    """Nobody can tell who asks: no token, or none that holds."""


class ForbiddenError(AuthorisationError):
    """Who asks is known, and may not do this."""

    status = 403


class LocationError(OCSError):
    """The router is there, but does not tell what is registered with it."""


class RouterAwayError(OCSError):
    """There is no connection to the router now."""


class BusyError(OCSError):
    """So much is under way that a further request is not begun."""


class CallLostError(OCSError):
    """A call of another agent's procedure has brought no answer.

    Args:
        message: why.
        may_be_done: whether the agent may have done what was asked of it nevertheless.
    """

    def __init__(self, message: str, *, may_be_done: bool) -> None:
        super().__init__(message)
        self.may_be_done = may_be_done


class AgentServiceError(OCSError, RuntimeError):
    """A request to the agent service brought no result.

    Args:
        message: what happened and what to do, in one line.
        status: of the HTTP answer; 0: there was none.
        answer: what the service said; empty: nothing that could be read.
    """

    def __init__(self, message: str, *, status: int = 0, answer: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer or {}
