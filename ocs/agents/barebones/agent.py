"""The barebones agent: one process, one task, one feed, and nothing else. Copy it to begin an agent of your own."""

import argparse
import threading
import time
from collections.abc import Sequence
from typing import Any

from ocs import ocs_agent, site_config
from ocs.agents.barebones.counter import Counter
from ocs.ocs_twisted import TimeoutLock

__all__ = ["BarebonesAgent", "add_agent_args", "main"]


class BarebonesAgent:
    """Counts, and prints a text.

    Args:
        agent: the OCSAgent that this is the work of.
    """

    def __init__(self, agent: ocs_agent.OCSAgent) -> None:
        self.agent = agent
        self.log = agent.log
        # Operations run in threads of their own: what they share, a device above all, needs a lock.
        self.lock = TimeoutLock()
        self._wake = threading.Event()
        agent.register_feed("feed_name", record=True, agg_params={"frame_length": 600}, buffer_time=1.0)

    @ocs_agent.param("test_mode", default=False, type=bool, help="run the loop once")
    def count(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> tuple[bool, str]:
        """count(test_mode=False)

        **Process** - Count up from 0, once a second, and publish the numbers on the feed ``feed_name``.

        Parameters:
            test_mode (bool): Run the loop once. Default is False.

        Notes:
            ``session.data`` has the last number, and when it was reached (unix s)::

                >>> response.session["data"]
                {"value": 12, "timestamp": 1790000012.73}
        """
        counter = Counter()
        once = (params or {}).get("test_mode", False)
        while session.status in ("starting", "running"):
            self._read_and_publish(counter, session)
            if once:
                break
            self._wake.wait(1.0)
            self._wake.clear()
        return True, f"Counted to {counter.value}."

    def _read_and_publish(self, counter: Counter, session: ocs_agent.OpSession) -> None:
        with self.lock.acquire_timeout(timeout=5.0, job="count") as acquired:
            if not acquired:
                session.degraded = True
                session.add_message(f"Skipped a count: {self.lock.job} holds the counter.")
                return
            value, timestamp = counter.read(), time.time()
        session.degraded = False
        session.data = {"value": value, "timestamp": timestamp}
        sample = {"block_name": "count", "timestamp": timestamp, "data": {"value": value}}
        self.agent.publish_to_feed("feed_name", sample)

    def stop_count(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> tuple[bool, str]:
        """Wake the loop of `count`, which then sees that its session is stopping."""
        session.set_status("stopping")
        self._wake.set()
        return True, "Asked count to stop."

    @ocs_agent.param("text", default="hello world", type=str, help="what to print")
    def print(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> tuple[bool, str]:
        """print(text='hello world')

        **Task** - Print a text to the agent's log.

        Parameters:
            text (str): The text. Default is 'hello world'.

        Notes:
            ``session.data`` has the text, and when it was printed (unix s)::

                >>> response.session["data"]
                {"text": "hello world", "last_updated": 1790000012.73}
        """
        text = (params or {}).get("text", "hello world")
        with self.lock.acquire_timeout(timeout=3.0, job="print") as acquired:
            if not acquired:
                return False, f"Could not print: {self.lock.job} holds the lock."
            self.log.info("{text}", text=text)
        session.data = {"text": text, "last_updated": time.time()}
        return True, "Printed the text to the log."


def add_agent_args(parser_in: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser_in or argparse.ArgumentParser(description="Counts, and prints a text.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--mode", choices=["idle", "count"], default="count", help="count: start counting at once (default: count)"
    )
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="BarebonesAgent", parser=add_agent_args(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    barebones = BarebonesAgent(agent)
    agent.register_process("count", barebones.count, barebones.stop_count, startup=parsed.mode == "count")
    agent.register_task("print", barebones.print)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
