"""The InfluxDB publisher for version 2: every recorded feed goes to a bucket."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ocs import ocs_agent, site_config
from ocs.core.keeping import state_folder
from ocs.errors import InfluxOptionError
from ocs.influx.options import add_common, option, v2_from_environment
from ocs.influx.wiring import Wiring

__all__ = ["InfluxDBAgentv2", "main", "make_parser"]

BUCKET = "ocs_feeds"

Result = tuple[bool, str]


class InfluxDBAgentv2:
    """Writes what all recorded feeds publish into a bucket of InfluxDB 2.

    Args:
        agent: the OCSAgent that this is the work of.
        args: the parsed arguments; see `make_parser`.
        environment: has the server's URL, token and organisation; the process's own if not given.

    Raises:
        InfluxOptionError: one of these is missing or makes no sense.
    """

    def __init__(self, agent: Any, args: argparse.Namespace, environment: Mapping[str, str] | None = None) -> None:
        self.agent = agent
        self.log = agent.log
        environment = os.environ if environment is None else environment
        realm = getattr(getattr(agent, "config", None), "realm", None)
        own = state_folder(args, realm, str(agent.agent_address))
        bucket = option(args, "bucket", str, "") or environment.get("INFLUXDB_V2_BUCKET") or BUCKET
        server = v2_from_environment(environment, bucket)
        self._wiring = Wiring(args, server, own / "influxdb" if own is not None else None)
        agent.subscribe_on_start(self._wiring.take, f"{args.address_root}..feeds.", options={"match": "wildcard"})
        agent.register_process(
            "record",
            self.record,
            self.stop_record,
            blocking=True,
            stopper_blocking=False,
            startup=args.initial_state == "record",
        )

    @ocs_agent.param("test_mode", default=False, type=bool, help="take what comes within a moment, and end")
    def record(self, session: ocs_agent.OpSession, params: dict[str, Any] | None = None) -> Result:
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

    def stop_record(self, session: ocs_agent.OpSession, params: dict[str, Any] | None = None) -> Result:
        """Have `record` write what it holds and end; what the database does not take stays in the spool."""
        return self._wiring.stop(session)


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the publisher's options to a parser, a new one if none is given."""
    if parser is None:
        parser = argparse.ArgumentParser()
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--bucket", help=f"the bucket; made if missing and the token may (default: $INFLUXDB_V2_BUCKET, or {BUCKET})"
    )
    add_common(group)
    # It writes for years: it never gives up the router, unless told to.
    parser.set_defaults(crossbar_timeout=0)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.

    Raises:
        SystemExit: with one line, if the environment does not say where the points go.
    """
    parsed = site_config.parse_args(agent_class="InfluxDBAgentv2", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    try:
        InfluxDBAgentv2(agent, parsed)
    except InfluxOptionError as error:
        raise SystemExit(str(error)) from None
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
