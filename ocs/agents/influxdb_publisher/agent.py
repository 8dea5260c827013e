"""The InfluxDB publisher for version 1: every recorded feed goes to a database."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ocs import ocs_agent, site_config
from ocs.core.keeping import state_folder
from ocs.errors import InfluxOptionError
from ocs.influx.agent import PublisherAgent
from ocs.influx.options import add_common, flag, from_environment, option, port
from ocs.influx.server import Server, server_v1

__all__ = ["InfluxDBAgent", "main", "make_parser"]


class InfluxDBAgent(PublisherAgent):
    """Writes what all recorded feeds publish into a database of InfluxDB 1.

    Args:
        agent: the OCSAgent that this is the work of.
        args: the parsed arguments; see `make_parser`.
        environment: has the credentials; the process's own if not given.

    Raises:
        InfluxOptionError: the credentials cannot be read.
    """

    def __init__(self, agent: Any, args: argparse.Namespace, environment: Mapping[str, str] | None = None) -> None:
        server = _server(args, os.environ if environment is None else environment)
        realm = getattr(getattr(agent, "config", None), "realm", None)
        super().__init__(agent, args, server, state_folder(args, realm, str(agent.agent_address)))


def _server(args: argparse.Namespace, environment: Mapping[str, str]) -> Server:
    return server_v1(
        args.host,
        int(args.port),
        args.database,
        username=from_environment(environment, "INFLUXDB_USERNAME"),
        password=from_environment(environment, "INFLUXDB_PASSWORD"),
        ssl=option(args, "ssl", bool, default=False),
        verify_ssl=option(args, "verify_ssl", bool, default=False),
    )


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the publisher's options to a parser, a new one if none is given."""
    if parser is None:
        parser = argparse.ArgumentParser()
    group = parser.add_argument_group("Agent Options")
    group.add_argument("--host", default="influxdb", help="where InfluxDB runs (default: influxdb)")
    group.add_argument("--port", type=port, default=8086, help="its port (default: 8086)")
    group.add_argument("--database", default="ocs_feeds", help="the database; made if missing (default: ocs_feeds)")
    flag(group, "--ssl", "speak HTTPS", default=False)
    flag(group, "--verify-ssl", "check the server's certificate", default=False)
    add_common(group)
    # It writes for years: it never gives up the router, unless told to.
    parser.set_defaults(crossbar_timeout=0)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.

    Raises:
        SystemExit: with one line, if the credentials cannot be read.
    """
    parsed = site_config.parse_args(agent_class="InfluxDBAgent", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    try:
        InfluxDBAgent(agent, parsed)
    except InfluxOptionError as error:
        raise SystemExit(str(error)) from None
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
