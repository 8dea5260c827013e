"""The agent around a publisher, but for where the points go: its subscription, and the process ``record``."""

import argparse
from pathlib import Path
from typing import Any

from ocs.influx.server import Server
from ocs.influx.wiring import Wiring
from ocs.op_session import OpSession
from ocs.params import param

__all__ = ["PublisherAgent"]

Result = tuple[bool, str]


class PublisherAgent:
    """What both agents are, but for the server.

    Args:
        agent: the OCSAgent that this is the work of.
        args: the parsed arguments.
        server: the database.
        folder: the agent's own; None if it has none.
    """

    def __init__(self, agent: Any, args: argparse.Namespace, server: Server, folder: Path | None) -> None:
        self.agent = agent
        self.log = agent.log
        self._wiring = Wiring(args, server, folder / "influxdb" if folder is not None else None)
        agent.subscribe_on_start(self._wiring.take, f"{args.address_root}..feeds.", options={"match": "wildcard"})
        agent.register_process(
            "record",
            self.record,
            self.stop_record,
            blocking=True,
            stopper_blocking=False,
            startup=args.initial_state == "record",
        )

    @param("test_mode", default=False, type=bool, help="take what comes within a moment, and end")
    def record(self, session: OpSession, params: dict[str, Any] | None = None) -> Result:
        """record(test_mode=False)

        **Process** - Write what all recorded feeds publish into the database.

        Parameters:
            test_mode (bool): Take what comes within a moment, write it, and end. Default is False.

        Notes:
            The process is degraded while the database is away or refuses everything: what is published then waits in
            the spool, ``spool_bytes`` of it, and follows; ``lag`` is how long (s) the oldest has waited. It is also
            degraded while the spool's disk takes nothing. ``points`` counts what the database has taken, ``dropped``
            points that are lost, and ``left_out`` values that were not written, both by reason; ``malformed`` events
            that were no messages of a feed. All count from the start of the process. ``retry_in`` says in how many
            seconds the database is asked again, ``last_error`` what is wrong::

                >>> response.session["data"]
                {"connected": True,
                 "last_updated": 1790000012.7,
                 "last_written": 1790000012.1,
                 "points": 86400,
                 "waiting_points": 12,
                 "spool_bytes": 2048,
                 "lag": 0.6,
                 "dropped": {"retention": 2},
                 "left_out": {"not_finite": 5},
                 "malformed": 0,
                 "lost_messages": 0,
                 "retry_in": None,
                 "last_error": None}

            Reasons for points to be dropped: ``conflict``, ``retention``, ``unreadable``, ``refused``, ``too_long``
            (by the database), ``spool_full``, ``spool_damaged``. Reasons for values to be left out: ``not_finite``,
            ``too_large`` (an integer beyond 64 bits), ``type``, ``name``, ``time``, ``length``, ``structure``,
            ``envelope``, ``conflict`` (the database has the field with another type).
        """
        return self._wiring.record(session, once=bool((params or {}).get("test_mode")))

    def stop_record(self, session: OpSession, params: dict[str, Any] | None = None) -> Result:
        """Have `record` write what it holds and end; what the database does not take stays in the spool."""
        return self._wiring.stop(session)
