"""The audit of the installed packages, against a database that the test has."""

import importlib.util
import json
import sys
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / ".ci" / "dependencies.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("dependencies", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["dependencies"] = module  # a dataclass looks for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["dependencies"]


class Database(ThreadingHTTPServer):
    """Answers as OSV does."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.known = {("jinja2", "2.4.1"): ["GHSA-old"]}
        self.described = {}
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        asked = [(query["package"]["name"], query["version"]) for query in queries]
        assert {query["package"]["ecosystem"] for query in queries} == {"PyPI"}
        self.server.asked += asked
        found = [self.server.known.get(pair, []) for pair in asked]
        self._answer({"results": [{"vulns": [{"id": one} for one in ids]} if ids else {} for ids in found]})

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self._answer({"id": name, "summary": "it breaks"} | self.server.described.get(name, {}))

    def _answer(self, value):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def database():
    server = Database()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(audit, database, tmp_path, accepted=""):
    listed = tmp_path / "accepted.toml"
    listed.write_text(accepted)
    return audit.main(["--database", getattr(database, "url", database), "--accepted", str(listed)])


def accept(until):
    return f'[[accepted]]\nid = "CVE-1"\npackage = "pyyaml"\nreason = "not used"\nuntil = {until}\n'


@pytest.fixture
def bad_yaml(database, audit):
    version = dict(audit.installed())["pyyaml"]
    database.known["pyyaml", version] = ["GHSA-1", "PYSEC-1"]
    database.described["GHSA-1"] = {"aliases": ["CVE-1", "PYSEC-1"]}
    database.described["PYSEC-1"] = {"aliases": ["CVE-1", "GHSA-1"]}
    return version


def test_all_that_is_installed_is_asked_about_and_nothing_found_is_fine(audit, database, tmp_path, capsys):
    assert run(audit, database, tmp_path) == 0
    assert {name for name, _ in database.asked} >= {"autobahn", "twisted", "pyyaml", "cryptography"}
    assert "ocs" not in dict(database.asked)
    assert "0 advisories" in capsys.readouterr().out


def test_what_is_known_of_a_package_is_a_failure_told_once(audit, database, tmp_path, bad_yaml, capsys):
    assert run(audit, database, tmp_path) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "it breaks" in line]
    assert told == [f"dependencies: pyyaml {bad_yaml}: GHSA-1, CVE-1, PYSEC-1: it breaks"]


def test_a_withdrawn_advisory_is_none(audit, database, tmp_path, bad_yaml):
    for described in database.described.values():
        described["withdrawn"] = "2026-01-01T00:00:00Z"
    assert run(audit, database, tmp_path) == 0


@pytest.mark.usefixtures("bad_yaml")
@pytest.mark.parametrize(("until", "code"), [("2999-01-01", 0), ("2020-01-01", 1)])
def test_what_is_accepted_passes_until_its_day(audit, database, tmp_path, until, code):
    assert run(audit, database, tmp_path, accept(until)) == code


def test_what_is_accepted_is_of_one_package_and_its_last_day_counts(audit):
    found = audit.Advisory("other", "1", ("CVE-1",), "")
    entry = audit.Accepted("CVE-1", "pyyaml", "", date(2026, 1, 2))
    assert audit.judge([found], [entry], date(2026, 1, 2))[0] == [str(found)]
    mine = audit.Advisory("pyyaml", "1", ("GHSA-1", "CVE-1"), "")
    assert audit.judge([mine], [entry], date(2026, 1, 2)) == ([], [])
    assert audit.judge([mine], [entry], date(2026, 1, 3))[0] == [str(mine)]


def test_what_need_not_be_accepted_any_more_is_told(audit, database, tmp_path, capsys):
    assert run(audit, database, tmp_path, accept("2999-01-01")) == 0
    assert "take it out" in capsys.readouterr().out


def test_no_database_is_told_and_no_failure(audit, tmp_path, capsys):
    assert run(audit, "http://127.0.0.1:9", tmp_path) == 0
    assert "NOT looked at" in capsys.readouterr().out


def test_a_database_that_knows_nothing_is_told(audit, database, tmp_path, bad_yaml, capsys):
    del database.known["jinja2", "2.4.1"]
    assert run(audit, database, tmp_path) == 0
    assert "NOT looked at" in capsys.readouterr().out


def test_the_list_of_what_is_accepted_can_be_read(audit):
    for entry in audit.read_accepted(audit.ACCEPTED):
        assert entry.reason
        assert isinstance(entry.until, date)
