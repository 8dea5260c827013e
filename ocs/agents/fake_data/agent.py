"""The fake data agent: thermometers without hardware, and operations to try clients on."""

import argparse
import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall, deferLater

from ocs import ocs_agent, site_config
from ocs.agents.fake_data.sampling import MAX_SKEW, Channels, SampleClock

__all__ = ["FakeDataAgent", "add_agent_args", "main"]

FEED = "false_temperatures"
BLOCK = "temps"
ROUND = 0.25
"""Seconds between two batches; the loop is idle in between, and a stop ends the wait."""
VALUES_AT_ONCE = 20_000
"""Values in one message to the feed; what has piled up (a suspended machine) goes out in several."""
PROGRESS = 0.5
"""Seconds between two reports of `delay_task`."""

Params = dict[str, Any] | None
Result = tuple[bool, str]
Session = ocs_agent.OpSession
Clock = Callable[[], float]

_ACTIVE = ("starting", "running")


class FakeDataAgent:
    """Produces random-walk temperatures, and has an operation of every kind.

    Args:
        agent: the OCSAgent that this is the work of.
        num_channels: thermometers, sampled together.
        sample_rate: samples per second (Hz).
        frame_length: what recorders are asked to write at least once in, in seconds.
        reactor: the clock of what runs in the reactor; the global one unless given.
        wall: reads the time of day (unix s).
        steady: reads a clock that nobody sets (s).
        source: the randomness.

    Attributes:
        channel_names: the fields of the feed's block.
    """

    def __init__(
        self,
        agent: Any,
        num_channels: int = 2,
        sample_rate: float = 10.0,
        frame_length: float = 60,
        *,
        reactor: Any = None,
        wall: Clock = time.time,
        steady: Clock = time.monotonic,
        source: random.Random | None = None,
    ) -> None:
        self.agent = agent
        self.log = agent.log
        self.sample_rate = sample_rate
        self.channel_names = Channels(num_channels, random.Random()).names  # noqa: S311 - names only
        self._source = source or random.Random()  # noqa: S311 - noise, not secrets
        self._reactor = reactor or _global_reactor()
        self._wall = wall
        self._steady = steady
        self._wake = threading.Event()
        self._counting: LoopingCall | None = None
        self._nap: Deferred[None] | None = None
        agent.register_feed(FEED, record=True, agg_params={"frame_length": frame_length}, buffer_time=1.0)

    # acq: a process in a thread of its own

    @ocs_agent.param("test_mode", default=False, type=bool, help="take the samples that are due once")
    @ocs_agent.param(
        "degradation_period",
        default=None,
        type=float,
        check=lambda period: period > 0,
        unit="s",
        help="alternate between degraded and not",
    )
    def acq(self, session: Session, params: Params) -> Result:
        """acq(test_mode=False, degradation_period=None)

        **Process** - Take samples of all channels and publish them on the feed ``false_temperatures``.

        Parameters:
            test_mode (bool): Run the loop once. Default is False.
            degradation_period (float): Pretend to be well for this many seconds, then to be in trouble for as many,
                and so on; for trying out monitors. Default is None: always well.

        Notes:
            ``session.data`` has the last sample: temperatures in K, and when it was taken (unix s)::

                >>> response.session["data"]
                {"fields": {"channel_00": 0.1023, "channel_01": 0.0991}, "timestamp": 1790000012.73}
        """
        params = params or {}
        once, period = params.get("test_mode", False), params.get("degradation_period")
        channels = Channels(len(self.channel_names), self._source)
        began = self._steady()
        clock, samples = SampleClock(self.sample_rate, self._wall(), began), 0
        while True:
            going_on = session.status in _ACTIVE and not once
            samples += self._publish_due(session, clock, channels)
            if not going_on:
                return True, f"Acquisition has ended after {samples} samples."
            session.degraded = _is_degraded(self._steady() - began, period)
            clock = self._set_right(session, clock)
            self._wait_for_stop(ROUND)

    def _publish_due(self, session: Session, clock: SampleClock, channels: Channels) -> int:
        now, before = self._steady(), clock.taken
        limit = max(1, VALUES_AT_ONCE // len(channels.names))
        while stamps := clock.take(now, limit):
            data = channels.read(len(stamps))
            message = {"block_name": BLOCK, "timestamps": stamps, "data": data, "influxdb_tags": channels.tags}
            self.agent.publish_to_feed(FEED, message)
            last = {name: values[-1] for name, values in data.items()}
            session.data = {"fields": last, "timestamp": stamps[-1]}
        return clock.taken - before

    def _set_right(self, session: Session, clock: SampleClock) -> SampleClock:
        """Begin anew when somebody has set the wall clock, or the machine has slept."""
        wall, steady = self._wall(), self._steady()
        skew = clock.skew(wall, steady)
        if abs(skew) <= MAX_SKEW:
            return clock
        session.add_message(f"The clock jumped by {skew:+.1f} s; timestamps follow it from here on.")
        return SampleClock(self.sample_rate, wall, steady)

    def _wait_for_stop(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def stop_acq(self, session: Session, params: Params) -> Result:
        """Wake the loop of `acq`, which then sees that it is to end."""
        session.set_status("stopping")
        self._wake.set()
        return True, "Asked acq to stop."

    # count: a process in the reactor

    @ocs_agent.param("_")
    @inlineCallbacks
    def count(self, session: Session, params: Params) -> Generator[Deferred[Any], Any, Result]:
        """count()

        **Process** - Count seconds, in the reactor's thread.

        Notes:
            ``session.data`` has the seconds counted, and when it was brought up to date (unix s)::

                >>> response.session["data"]
                {"counter": 312, "last_update": 1790000012.73}
        """
        session.data = {"counter": 0, "last_update": self._wall()}

        def one_more() -> None:
            session.data = {"counter": session.data["counter"] + 1, "last_update": self._wall()}

        self._counting = LoopingCall(one_more)
        self._counting.clock = self._reactor
        yield self._counting.start(1.0, now=False)
        return True, f"Counted to {session.data['counter']}."

    def stop_count(self, session: Session, params: Params) -> Result:
        """End the loop of `count`."""
        if self._counting is not None and self._counting.running:
            self._counting.stop()
        return True, "Asked count to stop."

    # Tasks

    @ocs_agent.param("heartbeat", default=True, type=bool, help="whether the agent's heart beats")
    def set_heartbeat(self, session: Session, params: Params) -> Result:
        """set_heartbeat(heartbeat=True)

        **Task** - Turn the agent's heartbeat on or off, to see what those make of it who watch for it.

        Parameters:
            heartbeat (bool): True for on. Default is True.
        """
        self.agent.heartbeat_on = bool((params or {}).get("heartbeat", True))
        return True, f"The heartbeat is {'on' if self.agent.heartbeat_on else 'off'}."

    @ocs_agent.param("delay", default=5.0, type=float, check=lambda delay: 0 <= delay < float("inf"), unit="s")
    @ocs_agent.param("succeed", default=True, type=bool, help="how the task is to end")
    @inlineCallbacks
    def delay_task(self, session: Session, params: Params) -> Generator[Deferred[Any], Any, Result]:
        """delay_task(delay=5., succeed=True)

        **Task** (abortable) - Wait, in the reactor's thread.

        Parameters:
            delay (float): How long, in seconds. Default is 5.
            succeed (bool): Whether the task is to succeed. Default is True.

        Notes:
            ``session.data`` tells how far it has come, in seconds::

                >>> response.session["data"]
                {"requested_delay": 5.0, "delay_so_far": 1.2}
        """
        params = params or {}
        delay, succeed = float(params.get("delay", 5.0)), bool(params.get("succeed", True))
        began = self._steady()
        while True:
            so_far = self._steady() - began
            session.data = {"requested_delay": delay, "delay_so_far": so_far}
            if session.status not in _ACTIVE:
                return False, f"Aborted after {so_far:.1f} s."
            if so_far >= delay:
                return succeed, f"Waited for {so_far:.1f} s."
            yield self._sleep(min(PROGRESS, delay - so_far))

    @inlineCallbacks
    def _sleep(self, seconds: float) -> Generator[Deferred[Any], Any, None]:
        self._nap = deferLater(self._reactor, seconds)
        try:
            yield self._nap
        except CancelledError:
            pass  # by abort_delay_task: sooner awake
        finally:
            self._nap = None

    def abort_delay_task(self, session: Session, params: Params) -> Result:
        """Wake `delay_task`, which then sees that it is to end."""
        if self._nap is not None:
            self._nap.cancel()
        return True, "Asked delay_task to end."


def _is_degraded(elapsed: float, period: float | None) -> bool:
    return period is not None and int(elapsed / period) % 2 == 1


def _global_reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    return reactor


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def positive_number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
        return value

    return positive_number


def add_agent_args(parser_in: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser_in or argparse.ArgumentParser(description="Produces temperatures without hardware.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--mode", choices=["idle", "acq"], default="idle", help="acq: start both processes at once (default: idle)"
    )
    group.add_argument(
        "--num-channels",
        type=_positive(int),
        default=2,
        metavar="N",
        help="thermometers, sampled together (default: 2)",
    )
    group.add_argument(
        "--sample-rate", type=_positive(float), default=9.5, metavar="HZ", help="samples per second (default: 9.5)"
    )
    group.add_argument(
        "--frame-length",
        type=_positive(float),
        default=60,
        metavar="SECONDS",
        help="how often, at least, recorders are asked to write (default: 60)",
    )
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="FakeDataAgent", parser=add_agent_args(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    fake = FakeDataAgent(agent, parsed.num_channels, parsed.sample_rate, parsed.frame_length, reactor=agent.reactor)
    at_once = parsed.mode == "acq"
    agent.register_process("acq", fake.acq, fake.stop_acq, startup=at_once)
    agent.register_process("count", fake.count, fake.stop_count, blocking=False, startup=at_once)
    agent.register_task("set_heartbeat", fake.set_heartbeat)
    controlled = parsed.access_policy not in (None, "", "none")
    agent.register_task(
        "delay_task", fake.delay_task, fake.abort_delay_task, blocking=False, min_privs=2 if controlled else 1
    )
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
