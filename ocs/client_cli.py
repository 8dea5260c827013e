"""``python -m ocs.client_cli``: talk to agents; the program itself is ``ocs.cli.client_cli``."""

import sys

from ocs.cli.client_cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
