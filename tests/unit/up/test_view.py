"""What is told of a run: rows, lines, the table."""

import io
import json
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from ocs.cli.up_table import render
from ocs.cli.up_views import JsonView, LineView, Printer
from ocs.monitor import AgentView, LastMessage
from ocs.supervisor import Child, ChildState, Command, Phase, Target
from ocs.supervisor.output import ChildOutput
from ocs.up.managed import ManagedChild
from ocs.up.narrator import Narrator, size_text, summary_text
from ocs.up.rows import ROUTER, Health, Known, Recording, Role, Row, Summary, rows_of, summary_of
from ocs.up.run import newest_file

UP = ChildState(Phase.UP, Target.UP, since=100.0, starts=1)
MANAGED = ManagedChild("fake-1", "FakeDataAgent", "up", ready=True, pid=7, uptime=10.0)
VIEW = AgentView(
    address="observatory.fake-1",
    agent_class="FakeDataAgent",
    op_codes={"acq": 3, "count": 1, "delay_task": 6},
    expired=False,
    heartbeat_age=0.5,
    samples_per_s=9.5,
    samples=95,
    last=LastMessage("temps", 109.0, "channel_00=0.1"),
    session_id="1",
)
ROW = Row("fake-1", "FakeDataAgent", "up", Health.GOOD, (("acq", 3),), 9.5, 95, 1.0, "temps: channel_00=0.1")
SUMMARY = Summary(up=1, agents=2, samples_per_s=9.5, samples=95, recording=Recording("/data/hk/17000/170.g3", 1500))


def child(state, name="fake-1", said=b""):
    output = ChildOutput(None, None)
    output.write(said)
    return Child(Command(name, ("true",), {}), output, state=state)


def known(*, own=(), children=(), heard=(VIEW,), now=110.0, **more):
    return Known(own=own, children=children, told_at=110.0, heard=heard, now=now, **more)


def row(child=MANAGED, view=VIEW, **more):
    return rows_of(known(children=[child], heard=[view] if view else [], **more))[0]


SILENT = replace(VIEW, expired=True, heartbeat_age=6.0)


@pytest.mark.parametrize(
    ("child", "view", "word", "health"),
    [
        (MANAGED, VIEW, "up", Health.GOOD),
        (replace(MANAGED, ready=False, uptime=None), VIEW, "up", Health.GOOD),
        (replace(MANAGED, ready=False, uptime=None), None, "starting", Health.CHANGING),
        (MANAGED, None, "up", Health.GOOD),
        (replace(MANAGED, ready=False), None, "starting", Health.CHANGING),
        (replace(MANAGED, ready=False), VIEW, "up", Health.GOOD),
        (replace(MANAGED, ready=False, uptime=0.2), VIEW, "starting", Health.CHANGING),
        (MANAGED, SILENT, "silent", Health.BAD),
        (MANAGED, replace(VIEW, op_codes={"acq": 8}), "up", Health.BAD),
        (replace(MANAGED, next_action="wait_dead"), VIEW, "stopping", Health.CHANGING),
        (replace(MANAGED, next_action="start_at", due_in=3.0), VIEW, "waiting", Health.BAD),
        (replace(MANAGED, next_action="start", pid=None), None, "queued", Health.CHANGING),
        (replace(MANAGED, next_action="wait_start"), None, "starting", Health.CHANGING),
        (replace(MANAGED, next_action="down"), None, "down", Health.IDLE),
        (replace(MANAGED, next_action="?"), None, "unknown", Health.BAD),
        (replace(MANAGED, next_action="a new word"), None, "unknown", Health.BAD),
    ],
)
def test_the_state_of_an_agent(child, view, word, health):
    found = row(child, view)
    assert (found.state, found.health) == (word, health)


def test_where_the_router_is_away_the_agents_are_not_to_blame():
    found = row(view=SILENT, linked=False)
    assert (found.state, found.health) == ("no router", Health.CHANGING)


def test_what_is_meant_to_be_down_and_never_was_up_is_not_shown():
    spare = replace(MANAGED, next_action="down", target="down")
    stopped = replace(spare, name="fake-2", last_exit="exit code 0")
    assert [found.name for found in rows_of(known(children=[spare, stopped], heard=[]))] == ["fake-2"]


def test_the_time_of_an_agent_s_last_line_is_not_repeated():
    words = "2026-11-22T17:14:58+0000 fake-1: gave up"
    assert row(replace(MANAGED, last_words=words)).last_words == "fake-1: gave up"


def test_an_agent_shows_what_it_does():
    found = row()
    assert found.operations == (("acq", 3), ("delay_task", 6))
    assert (found.samples_per_s, found.last_age, found.last_text) == (9.5, 1.0, "temps: channel_00=0.1")


def test_an_agent_that_waits_shows_why_and_how_long_it_is_now():
    waiting = replace(MANAGED, next_action="start_at", due_in=3.0, last_exit="exit code 1", last_words="no such device")
    found = row(waiting, now=111.0)
    assert (found.due_in, found.trouble, found.operations) == (2.0, "exit code 1: no such device", ())


def test_when_the_manager_has_ended_for_good_all_is_down():
    found = row(over=True)
    assert (found.state, found.pid) == ("down", None)


def test_the_router_is_up_when_it_is_ready():
    router = child(UP, ROUTER)
    assert rows_of(known(own=[router], heard=[]))[0].state == "starting"
    router.ready = True
    (found,) = rows_of(known(own=[router], heard=[]))
    assert (found.state, found.role) == ("up", Role.ROUTER)


MANAGER_VIEW = replace(VIEW, address="observatory.hm")


@pytest.mark.parametrize(
    ("state", "heard", "word"),
    [
        (UP, [MANAGER_VIEW], "up"),
        (replace(UP, since=109.9), [MANAGER_VIEW], "starting"),
        (UP, [], "starting"),
        (replace(UP, phase=Phase.WAITING, due=111.0), [MANAGER_VIEW], "waiting"),
        (ChildState(), [], "down"),
    ],
)
def test_the_state_of_the_manager(state, heard, word):
    (found,) = rows_of(known(own=[child(state, "hm")], heard=heard))
    assert (found.state, found.role) == (word, Role.MANAGER)


def test_agents_run_on_while_the_manager_is_started_again_and_its_row_says_so():
    again = child(replace(UP, since=109.9, starts=2), "hm")
    manager, agent = rows_of(known(own=[again], children=[MANAGED]))
    assert (agent.state, manager.state) == ("up", "starting")
    assert "run on" in manager.trouble


def test_what_the_manager_complains_of_is_in_its_row():
    (found,) = rows_of(known(own=[child(UP, "hm")], heard=[MANAGER_VIEW], trouble="site.yaml:3: no"))
    assert found.trouble == "site.yaml:3: no"


def test_living_agents_of_others_are_shown_and_dead_ones_are_not():
    other, dead = replace(VIEW, address="observatory.other"), replace(VIEW, address="observatory.dead", expired=True)
    rows = rows_of(known(children=[MANAGED], heard=[VIEW, other, dead]))
    assert [(found.name, found.state) for found in rows] == [("fake-1", "up"), ("other", "elsewhere")]


def test_the_sums_leave_out_router_and_manager():
    rows = [
        replace(ROW, role=Role.ROUTER),
        replace(ROW, role=Role.MANAGER),
        ROW,
        replace(ROW, state="waiting", samples_per_s=0.5),
    ]
    assert summary_of(rows, Recording()) == Summary(up=1, agents=2, samples_per_s=10.0, samples=190)


def test_a_narrator_tells_each_change_once():
    narrator = Narrator()
    starting = replace(ROW, state="starting", operations=(), pid=7)
    waiting = replace(ROW, state="waiting", operations=(), last_exit="exit code 1", last_words="boom", due_in=3.0)
    looks = [
        replace(starting, state="queued"),
        starting,
        starting,
        ROW,
        ROW,
        replace(ROW, operations=(("acq", 4),)),
        waiting,
        replace(starting, restarts=1),
    ]
    assert [[text for _, text in narrator.changes([look])] for look in looks] == [
        [],
        ["starting (process 7)"],
        [],
        ["up; acq running"],
        [],
        ["acq stopping"],
        ["exit code 1, starts again in 3 s; it last said: boom"],
        ["starting (process 7, restart 1)"],
    ]


def test_a_restart_between_two_looks_is_told():
    narrator = Narrator()
    narrator.changes([ROW])
    again = replace(ROW, state="starting", operations=(), restarts=1, last_exit="killed by SIGKILL")
    assert [text for _, text in narrator.changes([again])] == ["killed by SIGKILL; started again at once"]


def test_a_brief_narrator_tells_only_of_trouble():
    narrator = Narrator(brief=True)
    told = []
    for state in ("starting", "up", "silent", "up", "stopping", "down"):
        told += [text for _, text in narrator.changes([replace(ROW, state=state)])]
    assert told == ["no heartbeat for 5 s, though its process is there", "up; acq running"]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (10**16, "10000.0 TB")]
)
def test_sizes(size, text):
    assert size_text(size) == text


def test_the_summary_says_it_all_in_a_line():
    line = summary_text(SUMMARY)
    assert line == "1 of 2 agents up, 9.5 samples/s, 95 samples, recording /data/hk/17000/170.g3 (1.5 kB)"


def drawn(rows, width, height):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(render("a site", rows, SUMMARY, 3725.0, width, height, "Ctrl-C ends all"))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 12), (120, 40), (200, 50)])
@pytest.mark.parametrize("agents", [0, 1, 5, 200])
def test_a_frame_fits_the_terminal(width, height, agents):
    rows = [replace(ROW, name=f"agent-{i}", last_text="x" * 300) for i in range(agents)]
    lines = drawn(rows, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_frame_shows_what_matters_at_80_columns():
    text = "\n".join(drawn([ROW], 80, 24))
    for words in ("fake-1", "up", "acq", "9.5", "1s temps: chan", "1:02:05", "1 of 2 agents up", "170.g3", "Ctrl-C"):
        assert words in text


def test_a_wide_frame_shows_class_and_codes():
    text = "\n".join(drawn([replace(ROW, restarts=3)], 140, 24))
    for words in ("FakeDataAgent", "acq running", "restarts", "3"):
        assert words in text


def test_trouble_comes_first_where_not_all_fits():
    rows = [replace(ROW, name=f"agent-{i}") for i in range(50)]
    rows[40] = replace(rows[40], state="waiting", health=Health.BAD, trouble="exit code 1")
    lines = drawn(rows, 80, 14)
    assert any("agent-40" in line for line in lines)
    assert any("more" in line for line in lines)


def test_what_an_agent_says_is_not_taken_for_markup():
    text = "\n".join(drawn([replace(ROW, last_text="[bold]x[/nonsense]")], 160, 24))
    assert "[bold]x[/nonsense]" in text


def test_lines_go_out_in_order(capsys):
    view = LineView(Printer(), interval=1000.0)
    view.start({}, ["hello"])
    view.look([ROW], SUMMARY)
    view.note("bye")
    view.close()
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[1].split(" ", 1)[1], lines[2].split(" ", 1)[1]] == [
        "hello",
        "fake-1: up; acq running",
        "bye",
    ]


def test_json_lines_are_json(capsys):
    view = JsonView(Printer(), interval=1e-9)
    view.start({"title": "a site"}, ["hello"])
    view.look([ROW], SUMMARY)
    view.note("bye")
    view.close()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["start", "change", "summary", "note"]
    assert events[2]["rows"][0]["operations"] == {"acq": "running"}
    assert events[2]["up"] == 1


def test_a_printer_whose_reader_has_gone_says_so_and_ends():
    printer, told = Printer(), threading.Event()
    printer.on_broken = told.set

    def broken():
        raise BrokenPipeError

    printer.post(broken)
    assert told.wait(5.0)
    printer.close()


def test_a_printer_that_is_held_up_holds_up_nobody():
    printer, release = Printer(limit=3), threading.Event()
    printer.post(release.wait)
    for _ in range(100):
        printer.post(lambda: None)
    release.set()
    printer.close()


def test_the_newest_recorded_file_is_found(tmp_path):
    assert newest_file(tmp_path / "gone") == Recording()
    for name in ("17000/1700000000.g3", "17953/1795300000.g3", "17953/1795366892.g3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    assert newest_file(tmp_path) == Recording(str(tmp_path / "17953" / "1795366892.g3"), 5)
