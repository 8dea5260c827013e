"""``python -m ocs.agent_cli``: start an agent; the program itself is ``ocs.cli.agent_cli``."""

import sys

from ocs.cli.agent_cli import build_agent_list, main

__all__ = ["build_agent_list", "main"]

if __name__ == "__main__":
    sys.exit(main())
