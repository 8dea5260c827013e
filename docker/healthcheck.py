"""Tells whether this container's agent answers through the router: exit code 0 if it does.

Where no INSTANCE_ID is set the container is the router's, and is asked whether it serves its realm.
"""

import os
import sys

from ocs import site_config
from ocs.errors import OCSError
from ocs.router import health

TIMEOUT_S = 5.0


def main() -> int:
    """Ask, and print one line."""
    instance_id = os.environ.get("INSTANCE_ID")
    try:
        print(_ask_agent(instance_id) if instance_id else _ask_router())
    except OCSError as error:
        print(error)
        return 1
    return 0


def _ask_agent(instance_id: str) -> str:
    told = [item for option in ("SITE_HOST", "SITE_HTTP") for item in _option(option)]
    client = site_config.get_control_client(instance_id, args=told)
    client.timeout = TIMEOUT_S
    return f"{client.get_api()['agent_class']} answers"


def _option(variable: str) -> list[str]:
    value = os.environ.get(variable)
    return [f"--{variable.lower().replace('_', '-')}", value] if value else []


def _ask_router() -> str:
    args = site_config.parse_args("*host*", args=_option("SITE_HOST"))
    found = health.check(args.site_hub, args.site_realm, TIMEOUT_S)
    if not found.ok:
        raise OCSError(found.message)
    return found.message


if __name__ == "__main__":
    sys.exit(main())
