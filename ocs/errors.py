"""What can go wrong, a class per cause.

Every message names the thing, what is wrong with it, and what to do; programs print it as one line.
"""

__all__ = ["OCSError", "SiteConfigError"]


class OCSError(Exception):
    """Base of the errors that are told to a person in one line, without a traceback."""

    def __str__(self) -> str:
        """Return the message as given, also where KeyError is a base and would quote it."""
        return str(self.args[0]) if self.args else self.__class__.__name__


class SiteConfigError(OCSError):
    """The site config file is missing, cannot be read, or has a mistake in it."""
