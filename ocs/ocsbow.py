"""``ocsbow``, also as ``python -m ocs.ocsbow``."""

import sys

from ocs.cli.ocsbow import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
