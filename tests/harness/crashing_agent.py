"""An agent whose acquisition crashes for as long as its device, a file, is not there."""

import argparse
import threading
from pathlib import Path

from ocs import ocs_agent, site_config


class CrashingAgent:
    """Reads the device, and trips over every fault of it."""

    def __init__(self, device):
        self.device = Path(device)
        self._wake = threading.Event()

    def acq(self, session, params):
        """acq()

        **Process** - Read the device.
        """
        self._wake.clear()
        session.data = {"read": self.device.read_text(), "params": params}
        while session.status == "running" and self.device.exists():
            self._wake.wait(0.05)
        return session.status != "running", "Ended."

    def stop(self, session, params):
        """Stop it."""
        session.set_status("stopping")
        self._wake.set()
        return True, "Stopping."


def main(args=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parsed = site_config.parse_args(agent_class="CrashingAgent", parser=parser, args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    work = CrashingAgent(parsed.device)
    agent.register_process("acq", work.acq, work.stop, startup={"rate": 3})
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
