"""The watcher on a real site: agents killed, degraded, failing, silent; people told by a real webhook and real mail."""

import json
import subprocess
import sys
import time

import pytest
import yaml

from ocs.base import OK
from tests.harness.listener import Listener
from tests.harness.notified import MailServer, Webhook
from tests.harness.prove import run
from tests.harness.pysmurf import announce, file_datagram, free_udp_port, make_file


@pytest.fixture
def hook():
    with Webhook().running() as running:
        yield running


@pytest.fixture
def mail():
    with MailServer().running() as running:
        yield running


class WatchedSite:
    """A site with a watcher, whose rules the test writes."""

    def __init__(self, site, run_agent, hook):
        self.site, self.run_agent, self.hook = site, run_agent, hook
        self.file = site.directory / "watcher-rules.yaml"
        self.targets = [{"name": "hook", "webhook": {"url": hook.url}, "interval": "0 s", "gather": "100 ms"}]
        self.watcher = None

    def write(self, *rules, **more):
        self.file.write_text(yaml.safe_dump({"targets": self.targets, "rules": list(rules), **more}))

    def start(self, *rules, **more):
        if rules:
            self.write(*rules, **more)
        self.site.add_instance("WatcherAgent", "watcher")
        self.watcher = self.run_agent("watcher", site=self.site)
        self.wait_for(lambda: self.session.get("data"))
        return self.watcher

    def fake(self, name="fake-1", *arguments):
        self.site.add_instance("FakeDataAgent", name, ["--mode", "acq", "--sample-rate", "20", *arguments])
        return self.run_agent(name, site=self.site)

    @property
    def session(self):
        return self.watcher.call(".ops", "status", "watch")[2]

    def kept(self):
        return list(self.site.state_dir.rglob("watcher.json"))

    def alarm(self, rule, subject):
        alarms = self.session["data"].get("alarms", [])
        return next((one for one in alarms if (one["rule"], one["subject"]) == (rule, subject)), None)

    def wait_for(self, reached, timeout=25.0):
        deadline = time.monotonic() + timeout
        while not (found := reached()):
            assert time.monotonic() < deadline, f"still: {self.session}"
            time.sleep(0.05)
        return found

    def wait_for_state(self, state, rule, subject):
        def reached():
            alarm = self.alarm(rule, subject)
            return (alarm or {"state": "ok"})["state"] == state and (alarm or True)

        return self.wait_for(reached)

    def act(self, task, **params):
        """Run a task of the watcher; returns whether it succeeded, and its last word."""
        session = run(self.watcher, task, params)
        return session["success"], [text for _, text in session["messages"] if not text.startswith("Status")][-1]


@pytest.fixture
def watched(site, run_agent, hook):
    return WatchedSite(site, run_agent, hook)


def told(state, subject):
    return lambda letter: any(one["state"] == state and one["subject"] == subject for one in letter["alarms"])


def test_an_agent_that_is_killed_is_told_and_its_return_too(watched):
    watched.start({"name": "dead", "kind": "expired", "agents": "fake-*"})
    fake = watched.fake()
    watched.wait_for(lambda: watched.session["data"]["agents"] >= 1)
    fake.kill()
    alarm = watched.wait_for_state("firing", "dead", "fake-1")
    assert alarm["severity"] == "critical"
    assert alarm["message"].startswith("no heartbeat since ")
    letter = watched.hook.wait_for(told("firing", "fake-1"))
    assert letter["watcher"] == watched.watcher.address
    assert "FIRING [critical] dead: fake-1: no heartbeat since" in letter["text"]
    watched.run_agent("fake-1", site=watched.site)
    watched.hook.wait_for(told("resolved", "fake-1"))
    assert watched.alarm("dead", "fake-1") is None


def test_degraded_is_told_with_the_reason_once_it_has_lasted(watched):
    watched.start({"name": "bad", "kind": "degraded_longer_than", "for": "1 s", "operations": "acq"})
    fake = watched.fake()
    assert fake.call(".ops", "stop", "acq")[0] == OK
    fake.call(".ops", "wait", "acq", None, 10)
    assert fake.call(".ops", "start", "acq", {"degradation_period": 3.0})[0] == OK
    watched.hook.wait_for(told("firing", "fake-1.acq"))
    watched.hook.wait_for(told("resolved", "fake-1.acq"))


def test_a_failed_operation_is_acknowledged_and_latched_until_it_is_reset(watched):
    watched.start({"name": "failed", "kind": "operation_failed", "agents": "fake-*", "latch": True})
    fake = watched.fake()
    run(fake, "delay_task", {"delay": 0.01, "succeed": False})
    alarm = watched.wait_for_state("firing", "failed", "fake-1.delay_task")
    assert alarm["severity"] == "warning"
    watched.wait_for(lambda: watched.alarm("failed", "fake-1.delay_task")["message"].startswith("has failed: "))
    assert watched.act("acknowledge", rule="failed", subject="fake-1.delay_task", by="nina", comment="on it") == (
        True,
        "1 alarm acknowledged by nina.",
    )
    alarm = watched.alarm("failed", "fake-1.delay_task")
    assert (alarm["state"], alarm["acknowledged_by"], alarm["comment"]) == ("acknowledged", "nina", "on it")
    run(fake, "delay_task", {"delay": 0.01, "succeed": True})
    watched.wait_for_state("latched", "failed", "fake-1.delay_task")
    assert watched.act("reset", rule="failed")[0]
    watched.wait_for_state("ok", "failed", "fake-1.delay_task")
    success, words = watched.act("acknowledge", rule="failed", subject="fake-1.delay_task", by="nina")
    assert not success
    assert "failed of fake-1.delay_task is no alarm now; there is: none" in words


def test_a_stopped_process_and_a_silent_feed_and_a_value_are_told(watched):
    watched.start(
        {"name": "stopped", "kind": "operation_stopped", "operations": "acq", "for": "1 s"},
        {"name": "silent", "kind": "no_data_for", "feeds": "false_temperatures", "for": "3 s"},
        {"name": "hot", "kind": "value_outside", "agents": "fake-1", "feeds": "false_temperatures",
         "field": "channel_00", "low": -1e9, "high": -1e6, "severity": "info"},
    )  # fmt: skip
    fake = watched.fake()
    alarm = watched.wait_for_state("firing", "hot", "fake-1.false_temperatures.channel_00")
    assert alarm["value"] > -1e6
    assert "outside -1e+09 to -1e+06" in alarm["message"]
    assert fake.call(".ops", "stop", "acq")[0] == OK
    watched.hook.wait_for(told("firing", "fake-1.acq"))
    watched.hook.wait_for(told("firing", "fake-1.false_temperatures"))
    assert fake.call(".ops", "start", "acq")[0] == OK
    watched.hook.wait_for(told("resolved", "fake-1.false_temperatures"))
    watched.wait_for_state("ok", "stopped", "fake-1.acq")


def test_alarms_and_what_people_said_survive_a_kill_of_the_watcher(watched):
    watched.start({"name": "never", "kind": "expired", "agents": "ghost"})
    watched.hook.wait_for(told("firing", "ghost"))
    assert watched.act("acknowledge", rule="never", subject="ghost", by="nina")[0]
    assert watched.act("mute", rule="never", **{"for": "2h"}, by="nina")[0]
    watched.wait_for(lambda: any('"by": "nina"' in file.read_text() for file in watched.kept()))
    watched.watcher.kill()
    watched.start()
    watched.wait_for(lambda: watched.session["data"].get("alarms"))
    alarm = watched.alarm("never", "ghost")
    assert (alarm["state"], alarm["acknowledged_by"]) == ("muted", "nina")
    assert watched.act("unmute", rule="never")[0]
    assert watched.alarm("never", "ghost")["state"] == "acknowledged"
    assert len(watched.hook.items) == 1


def test_a_mistake_in_the_rules_leaves_the_old_ones_in_force(watched):
    watched.start({"name": "dead", "kind": "expired"})
    watched.wait_for(lambda: watched.session["data"].get("rules") == 1)
    watched.file.write_text("rules:\n  - name: dead\n    kind: expird\n")
    session = watched.wait_for(lambda: (watched.session["degraded"] and watched.session) or None)
    [trouble] = session["data"]["trouble"]
    assert f"{watched.file}:3: rules[0].kind: 'expird' is none of:" in trouble
    assert "last good reading" in trouble
    assert session["data"]["rules"] == 1
    success, words = watched.act("check_rules")
    assert not success
    assert ":3:" in words
    watched.write({"name": "dead", "kind": "expired"}, {"name": "failed", "kind": "operation_failed"})
    watched.wait_for(lambda: watched.session["data"]["rules"] == 2 and not watched.session["degraded"])
    assert watched.act("check_rules")[0]
    assert not watched.act("check_rules", file="../secrets")[0]


def test_who_does_not_answer_is_told_later_and_mail_is_the_next_step(watched, mail):
    watched.hook.answers = [503, 503]
    watched.targets.append({
        "name": "night", "interval": "0 s", "gather": "0 s",
        "email": {"host": "127.0.0.1", "port": mail.port, "from": "ocs@example.org", "to": ["a@example.org"]},
    })  # fmt: skip
    watched.start(
        {"name": "never", "kind": "expired", "agents": "ghost", "escalate": {"after": "1 s", "to": "night"}},
        notify=["hook"],
    )
    message = mail.wait_for(lambda message: "escalated" in message["Subject"])
    assert message["To"] == "a@example.org"
    assert "never: ghost: has not been heard" in message.get_content()
    watched.hook.wait_for(told("firing", "ghost"))
    assert watched.session["data"]["notifications"]["retried"] == 2
    assert watched.act("test_notification", target="night") == (True, "night has taken the notification.")
    mail.wait_for(lambda message: "This is a test" in message["Subject"])
    watched.hook.answers = [404]
    success, words = watched.act("test_notification", target="hook")
    assert not success
    assert words == "hook: the webhook answers 404 Not Found."


def test_a_router_that_is_away_is_told_and_nobody_counts_as_dead_for_it(make_site, own_router, run_agent, hook):
    watched = WatchedSite(make_site(own_router), run_agent, hook)
    watched.start(
        {"name": "dead", "kind": "expired"},
        {"name": "silent", "kind": "no_data_for", "for": "2 s"},
        {"name": "router", "kind": "router_away", "for": "7 s"},
    )
    for name in ("fake-1", "fake-2"):
        watched.fake(name, "--crossbar-timeout", "0")
    watched.wait_for(lambda: watched.session["data"]["agents"] == 2)
    own_router.stop()
    letter = hook.wait_for(told("firing", "router"))  # and an agent expires after 5 s
    assert [alarm["subject"] for alarm in letter["alarms"]] == ["router"]
    own_router.start()
    hook.wait_for(told("resolved", "router"))
    back = watched.watcher.wait_until_ready() and watched.session["data"]["timestamp"]
    watched.wait_for(lambda: watched.session["data"]["timestamp"] > back + 8)
    assert {alarm["subject"] for letter in hook.items for alarm in letter["alarms"]} == {"router"}


def test_each_change_is_published_on_a_recorded_feed(watched, router, tmp_path):
    with Listener(router, "observatory.watcher.feeds.alarms", tmp_path) as listener:
        watched.start({"name": "never", "kind": "expired", "agents": "ghost", "for": "1 s"})
        watched.wait_for(lambda: listener.column("alarms", "state") == ["pending", "firing"])
        watched.write({"name": "other", "kind": "expired"})
        watched.wait_for(lambda: listener.column("alarms", "state")[-1] == "ok")
        assert listener.column("alarms", "subject") == ["ghost"] * 3
        assert listener.events[0][1]["record"] is True
        assert watched.watcher.stop() == 0


def test_a_real_recorders_figures_are_watched(watched, tmp_path):
    watched.start(
        {"name": "disk", "kind": "disk", "below": "1000000 TiB", "paths": [str(tmp_path)]},
        {"name": "few", "kind": "data_outside", "operation": "record", "path": "values_recorded", "low": 1e18},
        {"name": "queue", "kind": "queue", "above": "1000 TiB"},
    )
    watched.site.add_instance(
        "AggregatorAgent", "agg", ["--initial-state", "record", "--data-dir", str(tmp_path / "hk")]
    )
    watched.run_agent("agg", site=watched.site)
    watched.fake()
    watched.wait_for_state("firing", "disk", str(tmp_path))
    alarm = watched.wait_for_state("firing", "disk", "agg")
    assert "disk_free_bytes is " in alarm["message"]
    assert watched.wait_for_state("firing", "few", "agg")["value"] >= 0
    assert watched.alarm("queue", "agg") is None


@pytest.mark.slow
def test_the_journal_of_a_real_pysmurf_monitor_is_watched(watched, tmp_path):
    watched.start({"name": "queue", "kind": "queue", "above": "1 B"})
    port = free_udp_port()
    where = ["--udp-port", str(port), "--bind", "127.0.0.1", "--db-path", str(tmp_path / "suprsync.db")]
    watched.site.add_instance("PysmurfMonitor", "pysmurf", [*where, "--allow-root", str(tmp_path)])
    monitor = watched.run_agent("pysmurf", site=watched.site)

    def told():
        return monitor.call(".ops", "status", "run")[2].get("data", {})

    watched.wait_for(lambda: told().get("receiver", {}).get("running"))
    announce(port, file_datagram(make_file(tmp_path / "data" / "one.npy")))
    alarm = watched.wait_for(lambda: watched.alarm("queue", "pysmurf"), 60)
    assert alarm["message"].startswith("receiver.journal_bytes is ")
    assert alarm["message"].endswith(", the limit is 1 B")
    watched.write({"name": "queue", "kind": "queue"})
    watched.wait_for(lambda: watched.alarm("queue", "pysmurf") is None, 60)


def test_the_command_line_shows_alarms_and_deals_with_them(watched):
    def ocs(*words):
        command = [sys.executable, "-m", "ocs.cli.main", "alarms", *words, *watched.site.args]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, cwd=watched.site.directory
        )
        return done.returncode, done.stdout + done.stderr

    watched.start({"name": "never", "kind": "expired", "agents": "ghost"})
    watched.wait_for_state("firing", "never", "ghost")
    code, text = ocs()
    assert code == 1
    assert "critical firing       never  ghost  has not been heard since the watcher started, for " in text
    assert ocs("ack", "never", "ghost", "--by", "nina") == (0, "1 alarm acknowledged by nina.\n")
    code, text = ocs("--json")
    assert code == 0
    assert json.loads(text)["alarms"][0]["acknowledged_by"] == "nina"
    assert ocs("mute", "never", "--for", "2h") == (0, "never of * is muted for 2 h.\n")
    assert "1 alarm, 1 mute, 1 rule" in ocs()[1]
    assert ocs("unmute", "never")[0] == 0
    code, text = ocs("unmute", "never")
    assert (code, text) == (1, "ocs: never of * is not muted; muted is: nothing\n")
    assert ocs("reset", "never") == (0, "1 alarm reset.\n")
    assert ocs("mute", "never")[0] == 2
    assert ocs("mute", "never", "--for", "soon")[0] == 1
