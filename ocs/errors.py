"""What can go wrong, a class per cause.

Every message names the thing, what is wrong with it, and what to do; programs print it as one line.
"""

__all__ = [
    "AccessError",
    "AgentClassError",
    "BlockMismatchError",
    "CrossbarNotFoundError",
    "DataFolderError",
    "FeedError",
    "FeedKeyError",
    "FeedTypeError",
    "FeedValueError",
    "HostNotFoundError",
    "InstanceNotFoundError",
    "OCSError",
    "RecordingError",
    "RecordingLibraryError",
    "RouterError",
    "SiteConfigError",
    "SiteFileNotFoundError",
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


class RouterError(OCSError):
    """The crossbar router cannot be configured, started, stopped or reached."""


class RecordingError(OCSError):
    """The data folder cannot be used, or a recorded file cannot be read."""


class RecordingLibraryError(RecordingError, ImportError):
    """The library that writes and reads the housekeeping files is not installed."""


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
