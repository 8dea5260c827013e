"""Whatever is asked in whatever order: a grant has one holder, agents know him, and a restart changes nothing."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ocs.agents.access_director.grants_file import read_grants
from tests.unit.agents.access_director.test_access_director import CONFIG, World, call_of, levels

ASKERS = st.sampled_from([("nina", "nina"), ("otto", "nina"), ("otto", "otto"), (None, "nina"), (None, None)])
NAMES = st.sampled_from(["lock", "other"])
SPANS = st.sampled_from([0.5, 5.0, 50.0])


class DirectorModel(RuleBasedStateMachine):
    """Keeps account of who ought to hold what."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.offset = 0.0
        self.held = {}
        self.restart()

    def teardown(self):
        self.folder.cleanup()

    @rule()
    def restart(self):
        if self.held or hasattr(self, "world"):
            self.offset += self.world.reactor.seconds()
        offset = self.offset

        class Later(World):
            def clock(self):
                return super().clock() + offset

        self.world = Later(Path(self.folder.name))

    def ask(self, action, name, asker, **others):
        key, grantee = asker
        by = call_of(1, key, "client") if key else call_of(1)
        return self.world.ask(action, name=name, grantee=grantee, by=by, **others)

    def holder(self, name):
        asker, end, _ = self.held.get(name, (None, 0.0, None))
        return asker if end > self.world.clock() else None

    @rule(name=NAMES, asker=ASKERS, span=SPANS, strict=st.booleans())
    def acquire(self, name, asker, span, strict):
        holder = self.holder(name)
        answer = self.ask("acquire", name, asker, until=span, strict=strict)
        if holder is None or (holder == asker and not strict):
            self.held[name] = (asker, answer["expire_at"], answer["password"])
        else:
            assert "held already" in answer["error"]

    @rule(name=NAMES, asker=ASKERS, span=SPANS)
    def renew(self, name, asker, span):
        holder = self.holder(name)
        answer = self.ask("renew", name, asker, until=span)
        assert ("error" in answer) == (holder is None or holder != asker)
        if "error" not in answer:
            self.held[name] = (asker, answer["expire_at"], self.held[name][2])

    @rule(name=NAMES, asker=ASKERS)
    def release(self, name, asker):
        holder = self.holder(name)
        answer = self.ask("release", name, asker)
        assert ("error" in answer) == (holder is None or holder != asker)
        if "error" not in answer:
            del self.held[name]

    @rule(seconds=st.sampled_from([0.25, 1.0, 10.0]))
    def wait(self, seconds):
        self.world.pass_time(seconds)

    @rule()
    def lose_the_connection(self):
        self.world.leave()
        self.world.join(session=2)
        self.world.pass_time(1.0)

    @invariant()
    def agents_know_it(self):
        if not hasattr(self, "world"):
            return
        locked = self.holder("lock") is not None
        message = self.world.messages[-1]
        assert levels(message, "two") == (0 if locked else 2)
        for name, (_, _, password) in self.held.items():
            level = levels(message, password, "fake-1" if name == "lock" else "lab")
            wanted = {"lock": 3, "other": 2}[name] if self.holder(name) is not None else 1
            assert level == (wanted if name == "other" or not locked or wanted == 3 else 0)

    @invariant()
    def the_disk_knows_it(self):
        if not hasattr(self, "world"):
            return
        kept = {grant.name: grant.expire_at for grant in read_grants(Path(self.folder.name) / "grants.json")[0]}
        now = self.world.clock()
        wanted = {name: end for name, (_, end, _) in self.held.items() if end > now}
        assert {name: end for name, end in kept.items() if end > now} == wanted


DirectorModel.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_director_model = DirectorModel.TestCase


def test_the_configuration_of_the_model_has_both_grants():
    assert {block["name"] for block in CONFIG["exclusive_access_blocks"]} == {"lock", "other"}
