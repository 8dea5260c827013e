"""Whether a run's site is closed, what keys it needs, and what the user is told of it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ocs.errors import KeysError, RouterError
from ocs.keys.finding import CLIENT, key_path
from ocs.keys.making import make_site
from ocs.keys.site import identities_of, router_names
from ocs.site_config import SiteConfig
from ocs.up.hub import Choice, Hub

__all__ = ["KeysNeeded", "access_notes", "closed_hub", "keys_needed", "require_known_keys"]


@dataclass(frozen=True, slots=True)
class KeysNeeded:
    """The keys of a run.

    Args:
        folder: the site's keys folder.
        names: whose keys have to be in it: the manager's, those of the agents that run here, and ours.
        make: make what is missing; else that is an error.
    """

    folder: Path
    names: tuple[str, ...]
    make: bool

    def settle(self, site_file: Path) -> list[str]:
        """Make what is missing, if that is wanted, and make sure that everything is there.

        Args:
            site_file: that of the run.

        Returns:
            What the user should know, a line each.

        Raises:
            OCSError: a key is missing, or cannot be made.
        """
        notes = self._make(SiteConfig.from_yaml(site_file)) if self.make else []
        for name in self.names:
            self._require(name)
        return notes

    def _make(self, site: SiteConfig) -> list[str]:
        made = make_site(self.folder, identities_of(site), router_names(site), time.time())
        count = len(made.names)
        notes = [f"made {count} key{'' if count == 1 else 's'} in {self.folder}"] if count else []
        return [*notes, *made.differing]

    def _require(self, name: str) -> None:
        path = key_path(self.folder, name)
        if not path.exists():
            raise KeysError(
                f"this site is closed, and there is no {path}: `ocs up --secure` makes what is missing, on the "
                "router's machine; elsewhere, copy it from there"
            )


def keys_needed(hub: Hub, agents: Iterable[str], *, make: bool) -> KeysNeeded | None:
    """Return the keys that a run needs; None: the site is open.

    Args:
        hub: as it is run.
        agents: instance-ids of what is started here.
        make: make those that are missing.
    """
    return KeysNeeded(Path(hub.keys), (*agents, CLIENT), make) if hub.keys else None


def closed_hub(hub: Hub, own_keys: Path, *, secure: bool) -> Hub:
    """Return the hub as it is run: with TLS where the site has keys, or is to get some.

    Args:
        hub: as the site file has it.
        own_keys: the keys folder of this run, for a site that names none.
        secure: the user wants the site closed.
    """
    keys = hub.keys or (str(own_keys) if secure else "")
    return hub.closed_with(keys) if keys else hub


def require_known_keys(found: Hub, wanted: Hub, choice: Choice) -> None:
    """Make sure that a router that runs already knows the keys of this run.

    Raises:
        RouterError: they would be made for this run, by and for nobody but it.
    """
    if choice is Choice.USE and wanted.keys and not found.keys:
        raise RouterError(
            f"the router at {wanted.wamp_server} is not started by this run, so it cannot be closed by --secure: put "
            "the folder of its keys into the site file (hub: keys), or stop it first"
        )


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
