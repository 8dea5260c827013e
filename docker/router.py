"""Becomes the router, with the settings that the site file asks for: the entry point of the router's image."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

from ocs import site_config
from ocs.errors import OCSError
from ocs.router.closed import closed_config
from ocs.router.config import crossbar_config
from ocs.router.process import prepare, router_command

NODE = Path("/run/crossbar")  # written anew at each start, so that it may be in memory


def main() -> NoReturn:
    """Replace this program by crossbar."""
    host = os.environ.get("SITE_HOST")
    try:
        args = site_config.parse_args("*host*", args=["--site-host", host] if host else [])
        hub = SimpleNamespace(
            wamp_server=args.site_hub,
            wamp_http=args.site_http,
            wamp_realm=args.site_realm,
            address_root=args.address_root,
        )
        prepare(closed_config(hub, Path(args.site_keys)) if args.site_keys else crossbar_config(hub), NODE)
        command = router_command(NODE)
    except OCSError as error:
        sys.exit(str(error))
    os.chdir(NODE)
    os.execve(command.argv[0], command.argv, dict(command.env))  # noqa: S606 - our own argument list


if __name__ == "__main__":
    main()
