"""The InfluxDB publisher for version 2: every recorded feed goes to a bucket."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ocs import ocs_agent, site_config
from ocs.core.keeping import state_folder
from ocs.errors import InfluxOptionError
from ocs.influx.agent import PublisherAgent
from ocs.influx.options import add_common, option, v2_from_environment

__all__ = ["InfluxDBAgentv2", "main", "make_parser"]

BUCKET = "ocs_feeds"


class InfluxDBAgentv2(PublisherAgent):
    """Writes what all recorded feeds publish into a bucket of InfluxDB 2.

    Args:
        agent: the OCSAgent that this is the work of.
        args: the parsed arguments; see `make_parser`.
        environment: has the server's URL, token and organisation; the process's own if not given.

    Raises:
        InfluxOptionError: one of these is missing or makes no sense.
    """

    def __init__(self, agent: Any, args: argparse.Namespace, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        bucket = option(args, "bucket", str, "") or environment.get("INFLUXDB_V2_BUCKET") or BUCKET
        server = v2_from_environment(environment, bucket)
        realm = getattr(getattr(agent, "config", None), "realm", None)
        super().__init__(agent, args, server, state_folder(args, realm, str(agent.agent_address)))


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
