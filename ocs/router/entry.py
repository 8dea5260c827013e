"""Whether a closed router lets one in: by a key, and whether its own certificate is good.

Plain sockets with a deadline, no Twisted: a program asks before it has a reactor.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ocs.router.health import Link, RefusedError, websocket_url

__all__ = ["distrust", "why_refused"]

_HELLO, _WELCOME, _CHALLENGE, _AUTHENTICATE, _GOODBYE = 1, 2, 4, 5, 6


def why_refused(url: str, realm: str, name: str, public: str, sign: Callable[[str], str], timeout: float = 5.0) -> str:
    """Show a key to a closed router, and leave again.

    Args:
        url: the websocket URL.
        realm: the WAMP realm.
        name: whose key it is.
        public: its public half, in hex.
        sign: answers the router's challenge.
        timeout: for the whole of it, in seconds.

    Returns:
        Why the router does not admit it; empty if it does.
    """
    hello = {"roles": {"caller": {}}, "authmethods": ["cryptosign"], "authid": name, "authextra": {"pubkey": public}}
    try:
        with contextlib.closing(Link(websocket_url(url), time.monotonic() + timeout)) as link:
            link.handshake()
            link.send([_HELLO, realm, hello])
            answer = link.receive()
            if isinstance(answer, list) and len(answer) > 2 and answer[0] == _CHALLENGE:  # noqa: PLR2004 - [4, method, extra]
                link.send([_AUTHENTICATE, sign(str(answer[2]["challenge"])), {}])
                answer = link.receive()
            return _verdict(link, answer)
    except (RefusedError, OSError, UnicodeError) as error:
        return str(error) or type(error).__name__


def distrust(url: str, authority: Path | None, timeout: float = 5.0) -> str:
    """Tell why the certificate of the router at ``url`` is not good; empty if it is.

    Args:
        url: the websocket URL.
        authority: the certificate of the authority; None: those that this system knows.
        timeout: in seconds.

    Raises:
        OSError: nobody answers there.
    """
    import ssl  # noqa: PLC0415 - slow to load; for closed sites alone

    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 443), timeout) as plain:
        try:
            context = ssl.create_default_context(cafile=authority)
            context.wrap_socket(plain, server_hostname=parts.hostname).close()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return f"no TLS ({error.reason})"
    return ""


def _verdict(link: Link, answer: Any) -> str:
    if isinstance(answer, list) and answer and answer[0] == _WELCOME:
        link.send([_GOODBYE, {}, "wamp.close.normal"])
        return ""
    details = answer[1] if isinstance(answer, list) and len(answer) > 1 and isinstance(answer[1], dict) else {}
    return str(details.get("message") or "no reason given")
