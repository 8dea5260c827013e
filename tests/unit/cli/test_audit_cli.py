"""`ocs audit`: what it shows of the files that it finds."""

import itertools
import json
import time

import pytest

from ocs.audit import AuditRecord, RotatingFile, Wanted, audit_files
from ocs.cli import audit
from ocs.cli.main import main

NOW = time.time()
STARTED = AuditRecord(NOW - 60, "acu", "start", "point", "ann", "ann", "client", 2, 7, "tcp4:192.0.2.7:4031",
                      {"az": 3.5, "password": "***"}, 0, 'Started operation "point".', 4)  # fmt: skip
REFUSED = AuditRecord(NOW - 7200, "lab-1", "abort", "cool", code=-1, message="No session active.", wamp_session=9)


@pytest.fixture
def folder(tmp_path):
    for record in (STARTED, REFUSED):
        (tmp_path / f"observatory.{record.instance}.audit.jsonl").write_bytes(record.line())
    return tmp_path


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site file whose agents have their logs in one folder and what they keep in another."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OCS_STATE_DIR", raising=False)
    path = tmp_path / "site.yaml"
    path.write_text(
        f"""
hub: {{wamp_server: "ws://localhost:8001/ws", wamp_http: "http://localhost:8001/call", wamp_realm: r,
  address_root: observatory}}
hosts:
  one: {{log-dir: {tmp_path}/logs, agent-instances: []}}
  two: {{state-dir: {tmp_path}/kept, agent-instances: []}}
"""
    )
    return ["--site-file", str(path)]


def told(capsys, *words):
    assert main(["audit", *words]) == 0
    return capsys.readouterr().out


def test_the_table_is_in_the_order_of_time(capsys, folder):
    lines = told(capsys, str(folder)).splitlines()
    assert len(lines) == 3
    assert all(word in lines[1] for word in ("lab-1", "anonymous", "session 9", "abort", "refused: No session active."))
    assert all(word in lines[2] for word in ("acu", "ann (client)", "192.0.2.7:4031", '{"az": 3.5,', "ok"))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--since", "1h"], ["acu"]), (["--since", "2000-01-01"], ["lab-1", "acu"]), (["--refused"], ["lab-1"]),
        (["--who", "an*"], ["lab-1", "acu"]), (["--who", "ann"], ["acu"]), (["--agent", "lab-?"], ["lab-1"]),
        (["--op", "point"], ["acu"]), (["--action", "abort"], ["lab-1"]), (["-n", "1"], ["acu"]),
        (["-n", "0"], ["lab-1", "acu"]), (["--who", "bob"], []),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_shown(capsys, folder, words, found):
    assert [record["instance"] for record in json.loads(told(capsys, str(folder), "--json", *words))] == found


def test_nothing_found_and_broken_lines_are_told(capsys, folder):
    assert told(capsys, str(folder), "--who", "bob").startswith("nothing that was asked for")
    (folder / "observatory.acu.audit.jsonl").write_bytes(STARTED.line() + b"{\n")
    main(["audit", str(folder)])
    assert "1 line could not be read" in capsys.readouterr().err


def test_what_a_terminal_would_obey_is_shown_as_text(capsys, folder):
    hostile = REFUSED._replace(op="\x1b[2J", params={"a": "\x1b]0;x\x07\u202e"}, message="\r\n\x9b31m", who="\x1b[1m")
    (folder / "observatory.lab-1.audit.jsonl").write_bytes(hostile.line())
    text = told(capsys, str(folder), "--agent", "lab-1")
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert len(text.splitlines()) == 2


def test_the_site_file_tells_where_to_look(capsys, site, tmp_path):
    assert main(["audit", *site]) == 1
    assert "no agent of this site has written an audit on this machine" in capsys.readouterr().err
    for path, record in (
        (tmp_path / "logs" / "observatory.a.audit.jsonl", STARTED),
        (tmp_path / "logs" / "elsewhere.b.audit.jsonl", STARTED),
        (tmp_path / "kept" / "r" / "observatory.c.audit.jsonl", REFUSED),
        (tmp_path / "kept" / "other-realm" / "observatory.d.audit.jsonl", REFUSED),
        (tmp_path / "home" / "ocs" / "r" / "observatory.e.audit.jsonl", REFUSED),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record._replace(instance=path.name.split(".")[1]).line())
    assert sorted(r["instance"] for r in json.loads(told(capsys, *site, "--json"))) == ["a", "c", "e"]
    (tmp_path / "state" / "r").mkdir(parents=True)  # of `ocs up`, whose agents have nothing in the home directory
    assert sorted(r["instance"] for r in json.loads(told(capsys, *site, "--json"))) == ["a", "c"]
    (tmp_path / "state" / "r").rmdir()
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    found = json.loads(told(capsys, *site, "--log-dir", str(tmp_path / "elsewhere"), "--json"))
    assert sorted(r["instance"] for r in found) == ["a", "c", "e"]


@pytest.mark.parametrize("words", [["--since", "yesterday"], ["--since", "-1h"], ["-n", "x"], ["--nonsense"]])
def test_a_mistake_in_the_command_line_is_one_line(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_place_that_is_not_there_is_one_line(capsys, tmp_path):
    assert main(["audit", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_following_goes_on_with_files_that_are_set_aside_and_agents_that_begin(tmp_path):
    first = RotatingFile(tmp_path / "o.a.audit.jsonl", limit=300, keep=100)
    second = RotatingFile(tmp_path / "o.b.audit.jsonl")
    for n in range(5):
        first.write(REFUSED._replace(op=f"before {n}").line())
    count = 0

    def sleep(_seconds):
        nonlocal count
        for n in range(3):
            first.write(REFUSED._replace(op=f"{count} {n}").line())
        second.write(REFUSED._replace(op=f"{count} second", time=NOW).line())
        count += 1

    following = audit.follow(lambda: audit_files([tmp_path]), Wanted(), 2, 0.0, sleep)
    found = [record.op for record in itertools.islice(following, 14)]
    following.close()
    first.close()
    second.close()
    assert found == ["before 3", "before 4", *[f"{c} {n}" for c in range(3) for n in (0, 1, 2, "second")]]
