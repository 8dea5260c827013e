"""How a session is let in by the router: with the program's key at a closed site, as anybody at an open one."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ocs.errors import KeysError
from ocs.keys.finding import SiteKeys
from ocs.wamp.lean_autobahn import ApplicationSession

__all__ = ["KeyFinder", "no_keys", "require_tls", "show_key", "trust_root"]

KeyFinder = Callable[[], SiteKeys]
"""Finds a program's key; it is asked at each connection, so that a key that has been replaced is taken up."""


def no_keys() -> SiteKeys:
    """Find none: the site is open."""
    return SiteKeys()


def require_tls(url: str) -> None:
    """See that what a connection to a closed router takes is installed.

    Args:
        url: the router's websocket.

    Raises:
        KeysError: it is not.
    """
    if url.startswith("wss:") and not (find_spec("OpenSSL") and find_spec("service_identity")):
        raise KeysError(f"the router at {url} takes TLS, which is not installed here: run `pip install 'ocs[keys]'`")


def show_key(session: ApplicationSession, realm: str, find: KeyFinder) -> None:
    """Have a session show its key whenever it is connected.

    Args:
        session: is changed; one at an open site stays as it is.
        realm: the WAMP realm.
        find: finds the key.

    Raises:
        KeysError: there has to be a key, and there is none.
    """
    present = find()
    if present.key is None:
        return

    def connected() -> None:
        nonlocal present
        try:
            present = find()
        except KeysError as error:  # it is being replaced; the last one is as good as ever, or will be refused
            session.log.warn("{error}", error=error)
        key = present.key
        if key is not None:
            session.join(realm, ["cryptosign"], authid=key.name, authextra={"pubkey": key.public})

    def challenged(challenge: Any) -> str:
        if present.key is None:
            raise KeysError("the router asks for a key")
        return present.key.sign_challenge(challenge.extra.get("challenge"))

    session.onConnect = connected
    session.onChallenge = challenged


def trust_root(keys: SiteKeys) -> Any:
    """Return by whom the router's certificate has to be signed; None: by one whom the system knows.

    Raises:
        KeysError: the authority's certificate cannot be read.
    """
    if keys.ca is None:
        return None
    from twisted.internet.ssl import Certificate  # noqa: PLC0415 - TLS only where the site uses it

    try:
        return Certificate.loadPEM(keys.ca.read_bytes())
    except (OSError, ValueError) as error:
        raise KeysError(f"{keys.ca} cannot be read as a certificate ({error}): copy it from the router's") from error
    except Exception as error:  # OpenSSL's own, which has no public name here
        raise KeysError(f"{keys.ca} is no certificate: copy it anew from the router's keys folder") from error
