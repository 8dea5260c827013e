import subprocess
import sys
import threading
from argparse import Namespace
from types import SimpleNamespace

import pytest

from ocs.agents.aggregator import agent as module
from ocs.op_session import OpSession
from tests.harness.archive import ADDRESS, Clock, Lines, envelope, event, files_of, samples_in
from tests.harness.reactor import SteppedReactor


class Agent:
    """Takes note of what an agent's work asks it for; there is no router."""

    agent_address = "obs.recorder"
    realm_joined = False

    def __init__(self):
        self.log = Lines()
        self.reactor = SteppedReactor()
        self.operations = SimpleNamespace(ending=True)
        self.subscriptions = []
        self.processes = {}
        self.feeds = {}
        self.published = []
        self.handlers = {}

    def on(self, event, handler):
        self.handlers[event] = handler

    def subscribe_on_start(self, handler, topic, options=None):
        self.subscriptions.append((handler, topic, options))

    def register_process(self, name, start, stop, **options):
        self.processes[name] = (start, stop, options)

    def register_feed(self, name, **options):
        feed = envelope(f"{self.agent_address}.feeds.{name}", agg_params=options["agg_params"])
        self.feeds[name] = SimpleNamespace(encoded=lambda: feed)

    def publish_to_feed(self, name, message):
        self.published.append((name, message))

    def call_in_reactor(self, function, *args):
        function(*args)


@pytest.fixture
def args(tmp_path):
    return Namespace(initial_state="record", time_per_file=3600, data_dir=str(tmp_path), address_root="obs")


def test_it_listens_to_all_feeds_of_its_address_root(args):
    agent = Agent()
    work = module.AggregatorAgent(agent, args)

    assert agent.subscriptions == [(work.reception.take, "obs..feeds.", {"match": "wildcard"})]


@pytest.mark.parametrize(("state", "startup"), [("record", True), ("idle", False)])
def test_the_initial_state_says_whether_it_records_at_once(args, state, startup):
    agent = Agent()
    args.initial_state = state
    module.AggregatorAgent(agent, args)

    assert agent.processes["record"][2] == {"blocking": True, "stopper_blocking": False, "startup": startup}


def test_a_test_run_takes_one_turn_and_leaves_a_file(args, tmp_path):
    work = module.AggregatorAgent(Agent(), args, clock=Clock())
    session = OpSession(1, "record")

    ok, _ = work.record(session, {"test_mode": True})

    assert ok
    assert len(files_of(tmp_path)) == 1


def test_stop_writes_everything_and_closes(args, tmp_path):
    work = module.AggregatorAgent(Agent(), args)
    session = OpSession(1, "record")
    result = []
    started = threading.Event()
    put_in = work.inbox.open
    work.inbox.open = lambda: (put_in(), started.set())
    thread = threading.Thread(target=lambda: result.append(work.record(session, {})))
    thread.start()
    assert started.wait(10)
    for i in range(100):
        work.reception.take(event([float(i)], a=[i]))

    assert work.stop_record(session, None)[0]
    thread.join(10)

    assert result == [(True, "Recorded 112 values.")]  # with two notes, of its begin and its end
    found = samples_in(files_of(tmp_path))
    assert found[f"{ADDRESS}.a"] == [(float(i), i) for i in range(100)]
    assert [kind for _, kind in found["obs.recorder.feeds.notes.kind"]] == ["on", "off"]
    assert session.data["current_file"] is None


def test_where_and_how_long_a_file_is_can_be_said_when_it_is_started(args, tmp_path):
    work = module.AggregatorAgent(Agent(), args)
    session = OpSession(1, "record")

    work.record(session, {"test_mode": True, "data_dir": str(tmp_path / "tonight"), "time_per_file": 60.0})

    assert len(files_of(tmp_path / "tonight")) == 1


@pytest.mark.parametrize("given", ["..", "/proc/nowhere", "a/../../b", "out/in", "a\0b", "\ud800"])
def test_nobody_has_it_record_outside_of_its_folder(args, tmp_path, given):
    args.data_dir = str(tmp_path / "hk")
    (tmp_path / "hk").mkdir()
    (tmp_path / "hk" / "out").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    work = module.AggregatorAgent(Agent(), args)

    done, said = work.record(OpSession(1, "record"), {"test_mode": True, "data_dir": given})

    assert not done
    assert f"is not within {tmp_path}/hk" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_relative_folder_counts_from_its_own(args, tmp_path):
    module.AggregatorAgent(Agent(), args).record(OpSession(1, "record"), {"test_mode": True, "data_dir": "tonight"})

    assert len(files_of(tmp_path / "tonight")) == 1


def test_the_command_line_has_the_options_of_the_contract():
    parsed = module.make_parser().parse_args(["--data-dir", "/data/hk"])

    assert (parsed.data_dir, parsed.initial_state, parsed.time_per_file) == ("/data/hk", "idle", 3600)


@pytest.mark.parametrize("bad", ["0", "-5", "nan", "inf", "long"])
def test_a_time_per_file_that_is_none_is_refused(bad, capsys):
    with pytest.raises(SystemExit):
        module.make_parser().parse_args(["--data-dir", "x", "--time-per-file", bad])
    assert "--time-per-file" in capsys.readouterr().err


WITHOUT_SO3G = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("so3g", "spt3g", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
from ocs.agents.aggregator.agent import main
main(sys.argv[1:])
"""


def run_without_so3g(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_SO3G, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_needs_no_so3g():
    assert "--data-dir" in run_without_so3g("--help").stdout


def test_a_missing_so3g_is_one_line_that_says_what_to_install(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(
        "hub: {wamp_server: 'ws://127.0.0.1:1/ws', wamp_http: 'http://127.0.0.1:1/call', wamp_realm: r,"
        " address_root: o}\nhosts: {localhost: {agent-instances: [{agent-class: AggregatorAgent, instance-id: agg}]}}\n"
    )
    ended = run_without_so3g("--site-file", str(site), "--site-host", "localhost", "--data-dir", str(tmp_path))

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "pip install 'ocs[hk]'" in ended.stderr


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    site = tmp_path / "site.yaml"
    site.write_text(
        "hub: {wamp_server: 'ws://127.0.0.1:1/ws', wamp_http: 'http://127.0.0.1:1/call', wamp_realm: r,"
        " address_root: o}\nhosts: {localhost: {agent-instances: [{agent-class: AggregatorAgent, instance-id: agg}]}}\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "ocs.agents.aggregator.agent", "--site-file", str(site), "--site-host", "localhost",
         "--data-dir", str(tmp_path / "file" / "hk")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"The data folder {tmp_path}/file/hk cannot be made")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("ending", "turns"), [(False, 3), (True, 0)])
def test_a_person_s_stop_waits_for_what_is_to_be_fetched_and_the_agent_s_end_does_not(args, ending, turns):
    agent = Agent()
    agent.operations.ending = ending
    work = module.AggregatorAgent(agent, args)
    session = OpSession(1, "record")
    session.set_status("running")
    work.stop_record(session, None)
    agent.realm_joined = True
    work.reception.counts = {"behind": 1}
    taken = []

    class Turns:
        def run(self):
            taken.append(1)
            if len(taken) == 3:
                work.reception.counts = {"behind": 0}

    work._take_the_rest(Turns())

    assert len(taken) == turns


def test_the_room_on_the_disk_is_shown_and_a_folder_without_one_is_no_error(tmp_path):
    assert module._disk_free(str(tmp_path)) > 0
    assert module._disk_free(str(tmp_path / "gone")) is None
