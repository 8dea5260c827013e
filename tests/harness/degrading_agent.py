"""An agent whose acquisition is degraded for as long as its device, a file, is not there."""

import argparse
from pathlib import Path

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import LoopingCall

from ocs import ocs_agent, site_config


class DegradingAgent:
    """Waits for its device, and says so."""

    def __init__(self, device):
        self.device = Path(device)
        self._loop = LoopingCall(lambda: None)

    @inlineCallbacks
    def acq(self, session, params):
        """acq()

        **Process** - Look whether the device is there.
        """

        def look():
            session.degraded = not self.device.exists()

        self._loop = LoopingCall(look)
        yield self._loop.start(0.2)
        return True, "Ended."

    def stop(self, session, params):
        """Stop it."""
        self._loop.stop()
        return True, "Stopping."


def main(args=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parsed = site_config.parse_args(agent_class="DegradingAgent", parser=parser, args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    work = DegradingAgent(parsed.device)
    agent.register_process("acq", work.acq, work.stop, blocking=False, startup=True)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
