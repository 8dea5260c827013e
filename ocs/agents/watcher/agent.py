"""The watcher agent: raises alarms by rules, lets people acknowledge and mute them, and tells whoever is to be told."""

import argparse
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread

from ocs import ocs_agent, site_config
from ocs.agents.watcher.amounts import duration, seconds_text
from ocs.agents.watcher.board import Mute
from ocs.agents.watcher.guard import FEED, Guard
from ocs.agents.watcher.letters import trial_letter
from ocs.agents.watcher.rules import Ruleset
from ocs.agents.watcher.rules_file import RulesFile, read_rules
from ocs.agents.watcher.ways import send
from ocs.core.keeping import state_folder
from ocs.errors import OCSError, WatcherError
from ocs.presence.roster import Moment

__all__ = ["Watcher", "main", "make_parser"]

LONGEST_MUTE = 366 * 86400.0
"""In seconds."""

Params = dict[str, Any] | None
Result = tuple[bool, str]
Session = ocs_agent.OpSession
Steps = Generator[Deferred[Any], Any, Result]


class Watcher:
    """The operations of the watcher.

    Args:
        agent: the OCSAgent that this is the work of.
        rules: the rules file.
        root: the first part of all addresses.
        state: the file that keeps alarms and mutes over a restart; None: they are not kept.
        clock: reads the clocks.
        send: delivers a letter; raises `UndeliveredError`.
    """

    def __init__(
        self,
        agent: Any,
        rules: RulesFile,
        root: str,
        state: Path | None = None,
        *,
        clock: Callable[[], Moment] = Moment.now,
        send: Callable[[Any, dict[str, Any]], None] = send,
    ) -> None:
        self.agent, self.rules = agent, rules
        self.guard = Guard(agent, rules, root, state, clock=clock, send=send)
        self._send = send
        agent.register_feed(FEED, record=True, agg_params={"frame_length": 60}, buffer_time=1.0)
        agent.register_process(
            "watch", self.watch, self._stop_watch, blocking=False, startup=True, restart="on-failure"
        )
        for task in (self.acknowledge, self.mute, self.unmute, self.reset, self.check_rules, self.test_notification):
            agent.register_task(task.__name__, task, blocking=False)

    # Watching

    @ocs_agent.param("_")
    @inlineCallbacks
    def watch(self, session: Session, params: Params) -> Steps:
        """watch()

        **Process** - Watch the site by the rules, keep the alarms, and tell who is to be told.

        Notes:
            It is degraded while the rules file has a mistake in it (the rules of its last good reading stay in force),
            while notifications do not arrive, and while the state file cannot be written. Times are unix s; ``state``
            is one of pending, firing, acknowledged, muted, latched. The worst 500 alarms are shown::

                >>> response.session["data"]
                {"alarms": [{"rule": "agent-expired", "subject": "thermometry", "severity": "critical",
                             "state": "firing", "since": 1790000007.7, "value": None,
                             "message": "no heartbeat since 2026-09-21 13:33:22 UTC",
                             "acknowledged_by": None, "comment": ""}],
                 "counts": {"firing": 1}, "refused": 0,
                 "mutes": [{"rule": "no-data", "subject": "*", "until": 1790003600.0, "by": "nina"}],
                 "rules": 7, "rules_file": "/site/watcher-rules.yaml", "trouble": [],
                 "notifications": {"sent": 3, "retried": 0, "dropped": 0, "waiting": 0,
                                   "targets": {"night": {"sent": 3, "retried": 0, "dropped": 0, "waiting": 0,
                                                         "gathered": 0, "trouble": None}}},
                 "agents": 42, "asked": 840, "unanswered": 0, "timestamp": 1790000012.7}
        """
        yield self.guard.run(session)
        return True, "Watching has ended."

    def _stop_watch(self, session: Session, params: Params) -> Result:
        """End the watch; alarms and mutes are kept."""
        session.set_status("stopping")
        self.guard.stop()
        return True, "Ending the watch."

    # What people do

    @ocs_agent.param("rule", type=str, help="name of a rule, or a glob")
    @ocs_agent.param("subject", type=str, help="what it is about, or a glob")
    @ocs_agent.param("by", default="", type=str, help="who looks after it")
    @ocs_agent.param("comment", default="", type=str)
    def acknowledge(self, session: Session, params: Params) -> Result:
        """acknowledge(rule, subject, by='', comment='')

        **Task** - Say that somebody looks after alarms: they are not told or escalated any further until they are over.

        Parameters:
            rule (str): Name of a rule, or a glob.
            subject (str): Subject of the alarms, or a glob.
            by (str): Who looks after it.
            comment (str): What else there is to say.
        """
        given = params or {}

        def act(now: float) -> str:
            by = given["by"] or "somebody"
            number = self.guard.board.acknowledge(given["rule"], given["subject"], by, given["comment"], now)
            return f"{_alarms(number)} acknowledged by {by}."

        return self._act(act)

    @ocs_agent.param("rule", type=str, help="name of a rule, or a glob")
    @ocs_agent.param("subject", default=None, type=str, help="what it is about, or a glob; all if none is given")
    @ocs_agent.param("for", default=None, help="how long, as in 2h", unit="s")
    @ocs_agent.param("until", default=None, type=float, help="in place of it: when it ends", unit="unix s")
    @ocs_agent.param("by", default="", type=str, help="who wants it")
    def mute(self, session: Session, params: Params) -> Result:
        """mute(rule, subject=None, for=None, until=None, by='')

        **Task** - Tell nobody of alarms for a while. They are still shown, and told afterwards if they are still there.

        Parameters:
            rule (str): Name of a rule, or a glob.
            subject (str): Subject of the alarms, or a glob; all subjects of the rule unless given.
            for (str): How long, as in ``2h``, or in seconds.
            until (float): In place of it: when it ends (unix s).
            by (str): Who wants it.
        """
        given = params or {}

        def act(now: float) -> str:
            until = _end_of_mute(given["for"], given["until"], now)
            subject = given["subject"] or "*"
            self.guard.board.mute(Mute(given["rule"], subject, until, given["by"]), now)
            return f"{given['rule']} of {subject} is muted for {seconds_text(until - now)}."

        return self._act(act)

    @ocs_agent.param("rule", type=str, help="as it was muted")
    @ocs_agent.param("subject", default=None, type=str, help="as it was muted")
    def unmute(self, session: Session, params: Params) -> Result:
        """unmute(rule, subject=None)

        **Task** - End a mute.

        Parameters:
            rule (str): As it was muted.
            subject (str): As it was muted.
        """
        given = params or {}

        def act(now: float) -> str:
            self.guard.board.unmute(given["rule"], given["subject"] or "*", now)
            return f"{given['rule']} of {given['subject'] or '*'} is not muted any more."

        return self._act(act)

    @ocs_agent.param("rule", type=str, help="name of a rule, or a glob")
    @ocs_agent.param("subject", default=None, type=str, help="what it is about, or a glob; all if none is given")
    def reset(self, session: Session, params: Params) -> Result:
        """reset(rule, subject=None)

        **Task** - End latched alarms, whose cause has gone and that stay until somebody has seen them; and alarms about
        agents that have been taken away for good, which are forgotten until they are heard again.

        Parameters:
            rule (str): Name of a rule, or a glob.
            subject (str): Subject of the alarms, or a glob; all subjects of the rule unless given.
        """
        given = params or {}
        reset = self.guard.reset
        return self._act(lambda _now: f"{_alarms(reset(given['rule'], given['subject'] or '*'))} reset.")

    def _act(self, act: Callable[[float], str]) -> Result:
        """Do what a person wants, and show it at once; a mistake of theirs is the answer."""
        if not self.guard.is_running:
            return False, "The process watch does not run: start it first."
        try:
            done = act(self.guard.now().wall)
        except OCSError as error:
            return False, str(error)
        self.guard.tell()
        return True, done

    @ocs_agent.param("file", default=None, type=str, help="in the folder of the rules file; that file unless given")
    @inlineCallbacks
    def check_rules(self, session: Session, params: Params) -> Steps:
        """check_rules(file=None)

        **Task** - Read a rules file and tell the first mistake in it; the rules in force stay as they are.

        Parameters:
            file (str): Its name, in the folder of the rules file. Default is the rules file itself.

        Notes:
            ``session.data`` has the names of what was found::

                >>> response.session["data"]
                {"rules": ["agent-expired", "no-data"], "targets": ["operators", "night"]}
        """
        name = (params or {}).get("file")
        path = self.rules.path if name is None else self.rules.path.parent / name
        if path.parent != self.rules.path.parent:
            return False, f"{name!r:.80} is not the name of a file in {self.rules.path.parent}."
        try:
            found: Ruleset = yield deferToThread(read_rules, path)
        except OCSError as error:
            return False, str(error)
        session.data = {"rules": [rule.name for rule in found.rules], "targets": list(found.targets)}
        return True, f"{path}: {len(found.rules)} rules, {len(found.targets)} targets, no mistake."

    @ocs_agent.param("target", type=str, help="name of a target of the rules file")
    @inlineCallbacks
    def test_notification(self, session: Session, params: Params) -> Steps:
        """test_notification(target)

        **Task** - Send a test to a target, at once, and tell whether it was taken.

        Parameters:
            target (str): Name of a target of the rules file.
        """
        name, targets = (params or {})["target"], self.guard.targets
        if name not in targets:
            return False, f"There is no target {name!r:.80}; there is: {', '.join(targets) or 'none'}."
        letter = trial_letter(self.agent.agent_address, time.time())
        try:
            yield deferToThread(self._send, targets[name].way, letter)
        except OCSError as error:
            return False, f"{name}: {error}."
        return True, f"{name} has taken the notification."


def _alarms(number: int) -> str:
    return "1 alarm" if number == 1 else f"{number} alarms"


def _end_of_mute(length: Any, until: float | None, now: float) -> float:
    if (length is None) == (until is None):
        raise WatcherError("How long is it to be muted? Give either for, as in 2h, or until")
    try:
        end = now + duration(length) if until is None else until
    except ValueError as error:
        raise WatcherError(str(error)) from None
    if not now < end <= now + LONGEST_MUTE:
        raise WatcherError("a mute ends in the future, and within a year")
    return end


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(description="Raises alarms by rules, and tells people.")
    parser.set_defaults(crossbar_timeout=0)  # that the router is away is what people want to be told
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--rules",
        default="watcher-rules.yaml",
        metavar="FILE",
        help="the rules; relative to the folder of the site config file (default: watcher-rules.yaml)",
    )
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="WatcherAgent", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    folder = Path(parsed.site_file).resolve().parent if parsed.site_file else Path.cwd()
    kept = state_folder(parsed, parsed.site_realm, agent.agent_address)
    Watcher(agent, RulesFile(folder / parsed.rules), parsed.address_root, kept / "watcher.json" if kept else None)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
