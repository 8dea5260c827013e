"""Whether a run's site is closed, and what the user is told of it."""

from pathlib import Path

from ocs.up.hub import Choice, Hub

__all__ = ["access_notes", "closed_hub"]


def closed_hub(hub: Hub, own_keys: Path, *, secure: bool) -> Hub:
    """Return the hub as it is run: with TLS where the site has keys, or is to get some.

    Args:
        hub: as the site file has it.
        own_keys: the keys folder of this run, for a site that names none.
        secure: the user wants the site closed.
    """
    keys = hub.keys or (str(own_keys) if secure else "")
    return hub.closed_with(keys) if keys else hub


def access_notes(found: Hub, wanted: Hub, choice: Choice) -> list[str]:
    """Tell who may connect, where everybody may, or where that is not as the site file has it.

    Args:
        found: the hub of the site file.
        wanted: as it is run.
        choice: who starts the router.
    """
    if choice is Choice.USE:
        return []
    if not wanted.keys:
        return [f"this site is open: who reaches {wanted.wamp_server} may do everything; `ocs up --secure` closes it"]
    if found.keys and not found.wamp_server.startswith("wss:"):
        urls = f"{wanted.wamp_server} and {wanted.wamp_http}"
        return [f"a site with keys is reached by TLS: for its other machines, put {urls} into the site file"]
    return []
