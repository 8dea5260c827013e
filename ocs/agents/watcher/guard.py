"""The watcher at work: what it hears, its turns, what it tells, and what it keeps over a restart."""

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from ocs.agents.watcher.alarms import Key
from ocs.agents.watcher.board import Board, Change
from ocs.agents.watcher.moments import apart, moment_of
from ocs.agents.watcher.post_office import PostOffice
from ocs.agents.watcher.rules import OPERATION_KINDS, Target
from ocs.agents.watcher.rules_file import RulesFile
from ocs.agents.watcher.state_file import read_state, state_text, write_state
from ocs.agents.watcher.watch import HEARTBEAT_TIMEOUT, Watch
from ocs.op_session import OpSession
from ocs.presence.asking import Asker, Question
from ocs.presence.heartbeat import MalformedHeartbeatError
from ocs.presence.roster import Moment

__all__ = ["FEED", "Guard"]

FEED = "alarms"
TICK = 1.0
"""How often the watcher looks for what is due, in seconds: as often as hearts beat."""
ASK_EVERY = 10.0
"""How often agents are asked for the figures that rules are about, in seconds."""
READ_EVERY = 2.0
"""How often the rules file is looked at, in seconds."""
SAVE_EVERY = 2.0
"""Shortest time between two writings of the state file, in seconds."""
MOST_SHOWN = 500
"""Alarms in session.data; of the others there is a count."""

Steps = Generator[Deferred[Any], Any, None]


class Guard:
    """Watches the site while its session runs. For the reactor's thread; files and other people's sockets get threads.

    Args:
        agent: the OCSAgent.
        rules: the rules file.
        root: the first part of all addresses.
        state: the file that keeps alarms and mutes over a restart; None: they are not kept.
        clock: reads the clocks.
        send: delivers a letter; raises `UndeliveredError`.

    Attributes:
        board: the alarms.
        now: tells the present.
    """

    def __init__(
        self,
        agent: Any,
        rules: RulesFile,
        root: str,
        state: Path | None,
        *,
        clock: Callable[[], Moment],
        send: Callable[[Any, dict[str, Any]], None],
    ) -> None:
        self.agent, self.log = agent, agent.log
        self.rules, self.state = rules, state
        self.board = Board()
        self.now = moment_of(clock)
        self._watch = Watch(root, self.board)
        self._post: PostOffice | None = None
        self._send = send
        self._asker = Asker(agent, root, self._answered)
        self._session: OpSession | None = None
        self._loops: list[LoopingCall] = []
        self._topics: set[str] = set()
        self._hears = False
        self._last_tick = self._last_save = self._stamp = float("-inf")
        self._state_trouble: str | None = None
        self._malformed = 0
        self._saving = self._measuring = False
        agent.subscribe_on_start(self._hear_heartbeat, f"{root}..feeds.heartbeat", options={"match": "wildcard"})
        agent.on("leave", lambda *_args, **_kwargs: self._deaf())

    @property
    def is_running(self) -> bool:
        """Whether the site is being watched."""
        return self._session is not None

    @property
    def targets(self) -> Mapping[str, Target]:
        """Who can be told."""
        return self._watch.rules.targets

    @inlineCallbacks
    def run(self, session: OpSession) -> Steps:
        """Watch until `stop`; fires then, when everything is kept."""
        left = yield deferToThread(read_state, self.state)
        self._state_trouble = left.trouble
        if not self.board.alarms:
            self.board.restore(left.alarms, left.mutes)
        self._post = PostOffice(self.agent.agent_address, self._words, left.letters, send=self._send)
        yield deferToThread(self.rules.refresh)
        self._session = session
        self._apply_rules()
        self.tell()
        yield self._loop(session)

    def reset(self, rule: str, subject: str) -> int:
        """End alarms, as `Watch.reset` does; return how many."""
        return self._watch.reset(rule, subject, self.now())

    def stop(self) -> None:
        """End the watch."""
        for loop in self._loops:
            if loop.running:
                loop.stop()

    @inlineCallbacks
    def _loop(self, session: OpSession) -> Steps:
        """Run until stopped; whatever ends it, nothing of it is left."""
        turns = ((self._tick, TICK), (self._look_at_rules, READ_EVERY), (self._ask, ASK_EVERY))
        self._loops = [LoopingCall(turn) for turn, _ in turns]
        for loop in self._loops:
            loop.clock = self.agent.reactor
        try:
            if not session.ending:
                yield gatherResults([loop.start(every) for loop, (_, every) in zip(self._loops, turns, strict=True)])
        finally:
            self.stop()
            self._session = None
            self._deaf()
            yield self._close()

    @inlineCallbacks
    def _close(self) -> Steps:
        post, now = self._post, self.now()
        if post is None:
            return
        post.put(self.board.take_notices(), now.steady)
        self._publish(self.board.take_changes())
        post.close(now.steady)
        yield deferToThread(post.join)
        text = state_text(self.board, post.waiting())
        self._post = None
        yield deferToThread(self._save_in_thread, text)

    # What is heard

    def _deaf(self) -> None:
        self._hears = False
        self._watch.link_down()

    def _hear_heartbeat(self, event: Any) -> None:
        if self._session is None:
            return
        try:
            self._watch.hear_heartbeat(event, self.now())
        except MalformedHeartbeatError as error:
            self._malformed += 1
            if self._malformed & (self._malformed - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: they may come in any number
                self.log.warn("Ignored a malformed heartbeat ({n} so far): {why}", n=self._malformed, why=str(error))

    def _hear_feed(self, event: Any) -> None:
        if self._session is not None:
            self._watch.hear_message(event, self.now())

    def _answered(self, question: Question, reply: Mapping[str, Any]) -> None:
        if self._session is None:
            return
        now = self.now()
        self._watch.answer(question, reply, now)
        if words := _last_words(reply):
            for key, _alarm in self.board.of_agent(question.instance_id):
                rule = self.board.rules.get(key.rule)
                about = key.subject == f"{question.instance_id}.{question.operation}"
                if about and rule is not None and rule.kind in OPERATION_KINDS:
                    self._watch.last_words(key, words, now)

    # Turns

    @inlineCallbacks
    def _tick(self) -> Steps:
        now = self.now()
        slept, self._last_tick = now.steady - self._last_tick > HEARTBEAT_TIMEOUT, now.steady
        if not self.agent.is_at_work:
            self._deaf()
        elif slept or not self._hears:
            self._hears = True
            self._watch.link_up(now)
        for _ in self._watch.tick(now):
            yield deferLater(self.agent.reactor, 0)
        self.tell()
        self._save_soon(now)

    def tell(self) -> None:
        """Publish, send and show what is new."""
        session, post, now = self._session, self._post, self.now()
        if session is None or post is None:
            return
        changes = self.board.take_changes()
        self._publish(changes)
        self._ask_why(changes)
        post.put(self.board.take_notices(), now.steady)
        self.board.touched |= post.deliver(now.steady)
        self._show(session, post, now)

    def _publish(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.log.info(
                "{state}: {rule}: {subject}: {why}", state=change.state, why=change.message, **change.key._asdict()
            )
            self._stamp = apart(change.time, self._stamp)
            self.agent.publish_to_feed(FEED, _sample(change, self._stamp))

    def _ask_why(self, changes: Sequence[Change]) -> None:
        """Ask agents what they have to say of operations in trouble, so that people are told the reason too."""
        for change in changes:
            rule = self.board.rules.get(change.key.rule)
            if rule is not None and rule.kind in OPERATION_KINDS and change.state in ("pending", "firing"):
                instance, _, operation = change.key.subject.partition(".")
                self._asker.ask(Question(instance, operation))

    def _show(self, session: OpSession, post: PostOffice, now: Moment) -> None:
        trouble = [text for text in (self.rules.trouble, self._state_trouble, *post.troubles()) if text]
        for text in trouble:
            if text not in session.data.get("trouble", ()) and not any(
                text in said for _, said in session.messages[-20:]
            ):
                session.add_message(text)
        session.degraded = bool(trouble)
        session.data = {
            "alarms": self.board.shown(MOST_SHOWN),
            "counts": self.board.counts(),
            "refused": self.board.refused,
            "mutes": [asdict(mute) for mute in self.board.mutes],
            "rules": len(self._watch.rules.rules),
            "rules_file": str(self.rules.path),
            "trouble": trouble,
            "notifications": post.counts(),
            "agents": len(self._watch.roster.agents),
            "asked": self._asker.asked,
            "unanswered": self._asker.unanswered,
            "timestamp": now.wall,
        }

    def _words(self, key: Key) -> str | None:
        alarm = self.board.alarms.get(key)
        return None if alarm is None else alarm.message

    @inlineCallbacks
    def _look_at_rules(self) -> Steps:
        changed = yield deferToThread(self.rules.refresh)
        if changed and self._session is not None:
            self._apply_rules()
            self._session.add_message(self.rules.trouble or f"Goes by {len(self.rules.rules.rules)} rules now.")

    def _apply_rules(self) -> None:
        """Go by the rules as they were read last; with none that were good so far, alarms stay as they are."""
        if self._post is None or self.rules.never_good:
            return
        self._post.set_targets(self.rules.rules.targets)
        self._watch.set_rules(self.rules.rules, self.now())
        wanted = set(self._watch.topics())
        for topic in self._topics - wanted:
            self.agent.unsubscribe(topic)
        for topic in wanted - self._topics:
            self.agent.subscribe(self._hear_feed, topic, _matching(topic), force_subscribe=True)
        self._topics = wanted

    @inlineCallbacks
    def _ask(self) -> Steps:
        if self._hears and not self._asker.is_busy:
            self._asker.ask_all(self._watch.questions())
        if (paths := self._watch.disks()) and not self._measuring:
            self._measuring = True
            try:
                free = yield deferToThread(_free_space, paths)
            finally:
                self._measuring = False
            if self._session is not None:
                self._watch.see_disks(free, self.now())

    # Keeping

    def _save_soon(self, now: Moment) -> None:
        due = self.board.touched and now.steady - self._last_save >= SAVE_EVERY
        if self._post is None or self._saving or not due:
            return
        self._last_save, self.board.touched, self._saving = now.steady, False, True
        deferToThread(self._save_in_thread, state_text(self.board, self._post.waiting())).addBoth(self._saved)

    def _saved(self, _result: Any) -> None:
        self._saving = False
        if self._state_trouble:
            self.board.touched = True  # to be tried again

    def _save_in_thread(self, text: str) -> None:
        if self.state is None:
            return
        try:
            write_state(self.state, text)
            self._state_trouble = None
        except OSError as error:
            self._state_trouble = (
                f"{self.state} cannot be written, alarms and mutes would not survive: {error.strerror}"
            )


def _matching(topic: str) -> dict[str, str] | None:
    return {"match": "wildcard"} if "" in topic.split(".") else None


def _sample(change: Change, when: float) -> dict[str, Any]:
    data = {
        "rule": change.key.rule,
        "subject": change.key.subject,
        "severity": change.severity,
        "state": change.state,
        "value": float("nan") if change.value is None else float(change.value),
        "message": change.message,
    }
    return {"block_name": "alarms", "timestamp": when, "data": data}


def _last_words(session: Mapping[str, Any]) -> str | None:
    """Return what a session says of its trouble: the last message that is not about its status or a restart."""
    for entry in reversed(session.get("messages") or []):
        text = entry[1] if isinstance(entry, list | tuple) and len(entry) == 2 else None  # noqa: PLR2004 - time and text
        if isinstance(text, str) and not text.startswith(("Status is now", "Starts again in")):
            return " ".join(text.split())[:300]
    return None


def _free_space(paths: Sequence[str]) -> dict[str, float | None]:
    free: dict[str, float | None] = {}
    for path in paths:
        try:
            free[path] = float(shutil.disk_usage(path).free)
        except OSError:
            free[path] = None
    return free
