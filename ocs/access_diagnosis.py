"""What may be wrong with who is admitted to a site: one finding a fact, each with what to do about it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ocs.diagnosis import Finding, Level
from ocs.errors import KeysError
from ocs.keys import checking
from ocs.keys.finding import AUTHORITY_FILE, CLIENT, key_path
from ocs.keys.signing import SigningKey
from ocs.router import entry, health
from ocs.router.config import LOOPBACK
from ocs.scf.model import HostConfig, SiteConfig

__all__ = ["check_access", "check_admission", "check_certificate", "check_clock_of_router", "check_keys"]

LARGEST_SKEW = 20.0
"""How far the router's clock may be from ours, in seconds; tokens for its HTTP bridge are refused from 60 s on."""


def check_access(ws_url: str, realm: str, *, closed: bool, timeout: float = 5.0) -> Iterator[Finding]:
    """See whether the router admits strangers; nothing where none answers.

    Args:
        ws_url: the hub's ``wamp_server``.
        realm: the hub's ``wamp_realm``.
        closed: whether the site has keys.
        timeout: for each question, in seconds.
    """
    stage = health.check(ws_url, realm, timeout).stage
    if stage == "closed":
        yield (
            _asks_for_key()
            if closed
            else Finding(
                "access",
                Level.FAIL,
                "the router asks for a key, and the site file names none",
                "put `keys` into its hub",
            )
        )
    elif stage == "joined":
        yield _admits_all(ws_url, closed=closed)


def _asks_for_key() -> Finding:
    return Finding("access", Level.OK, "closed: the router refuses who has no key")


def _admits_all(ws_url: str, *, closed: bool) -> Finding:
    if closed:
        advice = "run `ocs-local-support generate_crossbar_config --force`, then stop and start it"
        return Finding("access", Level.FAIL, "the router admits everybody, though the site file names keys", advice)
    advice = "to close it, `ocs keys init` tells how"
    if urlsplit(ws_url).hostname in LOOPBACK:
        return Finding("access", Level.OK, "open to every program of this machine, and to no other", advice)
    return Finding("access", Level.WARN, f"open: who reaches {ws_url} may do everything", advice)


def check_keys(folder: Path, now: float, site: SiteConfig, host: HostConfig) -> Iterator[Finding]:
    """Look over the keys folder of a closed site, be it the router's or this machine's.

    Args:
        folder: the folder.
        now: unix s.
        site: the site.
        host: this machine's section of the site file.
    """
    levels = {checking.ERROR: Level.FAIL, checking.WARNING: Level.WARN, checking.NOTE: Level.OK}
    found = checking.check_folder(folder, now, site, host)
    for each in found:
        yield Finding("keys", levels[each.level], each.message)
    if not found:
        yield Finding("keys", Level.OK, f"nothing wrong in {folder}")


def check_admission(
    ws_url: str, realm: str, folder: Path, instances: Iterable[str], timeout: float = 5.0
) -> Iterator[Finding]:
    """Show the router the keys of this machine's agents and of its user; nothing where there are none.

    Args:
        ws_url: the hub's ``wamp_server``.
        realm: the hub's ``wamp_realm``.
        folder: the keys folder.
        instances: instance-ids of this machine.
        timeout: for each key, in seconds.
    """
    admitted = 0
    for path in filter(Path.exists, (key_path(folder, name) for name in (*instances, CLIENT))):
        why = _why_refused(ws_url, realm, path, timeout)
        if why:  # the router answers late to who shows bad keys again and again; one tells enough
            advice = "`ocs keys check` on the router's machine tells more; `ocs keys rotate` there makes a new key"
            yield Finding("admission", Level.FAIL, f"the router does not admit {path.stem}: {why}", advice)
            return
        admitted += 1
    if admitted:
        yield Finding("admission", Level.OK, f"the router admits the {admitted} keys of this machine")


def _why_refused(ws_url: str, realm: str, path: Path, timeout: float) -> str:
    try:
        key = SigningKey.read(path)
        return entry.why_refused(ws_url, realm, key.name, key.public, key.sign_challenge, timeout)
    except KeysError as error:
        return str(error)


def check_certificate(ws_url: str, folder: Path, timeout: float = 5.0) -> Iterator[Finding]:
    """See whether the router proves to be the site's; nothing where none answers.

    Args:
        ws_url: the hub's ``wamp_server``.
        folder: the keys folder, with the certificate of the site's authority; without it, what this system knows.
        timeout: in seconds.
    """
    authority = folder / AUTHORITY_FILE
    try:
        why = entry.distrust(ws_url, authority if authority.exists() else None, timeout)
    except OSError:
        return
    if why:
        advice = f"compare {authority} with the router's; if its name has changed, `ocs keys init` and restart it"
        yield Finding("certificate", Level.FAIL, f"the router's certificate is not good: {why}", advice)
    else:
        yield Finding("certificate", Level.OK, f"the router at {ws_url} is the site's own")


def check_clock_of_router(http_url: str, clock: Callable[[], float], timeout: float = 5.0) -> Iterator[Finding]:
    """Compare the clock of the router's machine with ours; nothing where it does not tell.

    Args:
        http_url: the hub's ``wamp_http``.
        clock: unix s.
        timeout: in seconds.
    """
    answer = health.ask_http(http_url, timeout)
    if answer is None or answer.date is None:
        return
    skew = answer.date - clock()
    if abs(skew) > LARGEST_SKEW:
        message = f"the clock of the router's machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
        yield Finding("router's clock", Level.WARN, message, "let both follow a time server: tokens hold for a time")
    else:
        yield Finding("router's clock", Level.OK, "is ours")
