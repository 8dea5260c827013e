"""Sending a letter: to a webhook, or by mail. Blocks; for the couriers' threads."""

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any

from ocs.agents.watcher.rules import Email, Webhook
from ocs.errors import OCSError

__all__ = ["PATIENCE", "UndeliveredError", "send"]

PATIENCE = 10.0
"""How long the other side may take for each step, in seconds."""

_FOR_GOOD = range(400, 500)
_NOT_NOW = (408, 425, 429)


class UndeliveredError(OCSError):
    """A letter has not been delivered; the text has no secrets in it.

    Args:
        message: why.
        for_good: whether trying again is of no use.
    """

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


def send(way: Webhook | Email, letter: dict[str, Any]) -> None:
    """Send a letter.

    Raises:
        UndeliveredError: it has not arrived.
    """
    if isinstance(way, Webhook):
        _post(way, letter)
    else:
        _mail(way, letter)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, without its letter; it is an answer like any other."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _post(way: Webhook, letter: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - the rules allow http and https alone
        way.url,
        data=json.dumps(letter, allow_nan=False).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "ocs-watcher"},
        method="POST",
    )
    if way.token_file:
        request.add_header("Authorization", f"Bearer {_secret(way.token_file)}")
    try:
        with _OPENER.open(request, timeout=PATIENCE):
            pass
    except urllib.error.HTTPError as error:
        with error:
            for_good = error.code in _FOR_GOOD and error.code not in _NOT_NOW
            raise UndeliveredError(f"the webhook answers {error.code} {error.reason}", for_good=for_good) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UndeliveredError(f"the webhook cannot be reached: {reason}") from None


def _mail(way: Email, letter: dict[str, Any]) -> None:
    message = _message(way, letter)
    try:
        with _server(way) as server:
            if way.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if way.username:
                server.login(way.username, _secret(way.password_file) if way.password_file else "")
            server.send_message(message)
    except smtplib.SMTPException as error:
        raise UndeliveredError(f"{way.host}:{way.port} does not take the mail: {_said(error)}") from None
    except (OSError, ValueError) as error:
        raise UndeliveredError(f"{way.host}:{way.port} cannot be reached: {error}") from None


def _server(way: Email) -> smtplib.SMTP:
    if way.tls == "tls":
        return smtplib.SMTP_SSL(way.host, way.port, timeout=PATIENCE, context=ssl.create_default_context())
    return smtplib.SMTP(way.host, way.port, timeout=PATIENCE)


def _message(way: Email, letter: dict[str, Any]) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = _one_line(f"{letter['watcher']}: {letter['summary']}")
    message["From"], message["To"] = way.sender, ", ".join(way.to)
    message["Date"] = format_datetime(datetime.fromtimestamp(letter["time"], UTC))
    message["Message-ID"] = make_msgid(domain="ocs.invalid")
    message.set_content(f"{letter['text']}\n\n-- \n{letter['watcher']}\n")
    return message


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:200]


def _said(error: smtplib.SMTPException) -> str:
    text = getattr(error, "smtp_error", None) or str(error)
    return _one_line(text.decode(errors="replace") if isinstance(text, bytes) else str(text))


def _secret(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UndeliveredError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
