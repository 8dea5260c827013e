"""What a role may do at a closed site, decided inside the router for each message."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from crossbar.router.role import RouterRole

from ocs.keys.permissions import may
from ocs.keys.table import SiteTable

__all__ = ["SiteRole"]


class Session(Protocol):
    """What a role sees of a session in the router."""

    _authid: str | None
    _authrole: str | None


class SiteRole(RouterRole):
    """One role; it asks the present table, so that what is revoked there ends here with the next message.

    Args:
        router: crossbar's router of the realm.
        name: the role's name, one of `ocs.keys.table.ROLES`.
        table: gives who may connect now.
        root: the site's address root.
    """

    def __init__(self, router: object, name: str, table: Callable[[], SiteTable], root: str) -> None:
        super().__init__(router, name)  # type: ignore[no-untyped-call]
        self._table = table
        self._root = root

    def authorize(self, session: Session, uri: str, action: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Tell whether a session may do something.

        Nothing is left in crossbar's cache, which knows roles and no names.
        """
        table = self._table()
        identity = table.identities.get(session._authid or "")
        allowed = (
            identity is not None
            and identity.role == self.uri
            and (action != "register" or self._is_alone(session, uri, options))
            and may(
                identity,
                action,
                uri,
                root=self._root,
                match=options.get("match") or "exact",
                directors=table.directors,
            )
        )
        return {"allow": allowed, "disclose": True, "cache": False}

    def _is_alone(self, session: Session, uri: str, options: Mapping[str, Any]) -> bool:
        """Tell whether all calls of a procedure will go to one and the same identity."""
        if options.get("invoke", "single") != "single":
            return False  # a shared procedure would hand some of its calls to whoever joins it
        if not options.get("force_reregister"):
            return True
        there = self.router._dealer._registration_map.get_observation(uri, "exact")
        return there is None or all(other._authid == session._authid for other in there.observers)
