"""`ocs access`: hashing passwords, and what it says of a director's file."""

import io
import json

import pytest
import yaml

from ocs.access.passwords import HashedPass
from ocs.cli import access
from ocs.cli.main import main

GOOD = {
    "passwords": [
        {"default": True, "password_1": "", "password_2": HashedPass.create_from_value("argon2id", "two").to_dict()}
    ],
    "exclusive_access_blocks": [
        {
            "name": "lock",
            "password": HashedPass.create_from_value("argon2id", "pw").to_dict(),
            "grants": [{"default": True, "cred_level": 3}],
        }
    ],
}


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a function that runs `ocs access`, and returns exit code, standard output and error."""

    def run(*words, given=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        try:
            code = main(["access", *words])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def file(tmp_path):
    def write(content, mode=0o600):
        path = tmp_path / "acc.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        path.chmod(mode)
        return str(path)

    return write


@pytest.mark.parametrize("name", ["argon2id", "scrypt", "md5"])
def test_a_hash_can_be_put_into_the_file_as_it_is_printed(run, name):
    code, printed, _ = run("hash", "--hash", name, given="secret\n")
    made = HashedPass.from_dict(yaml.safe_load(printed))
    assert (code, made.hash, made.check("secret"), made.check("secret\n")) == (0, name, True, False)
    assert "secret" not in printed


def test_the_default_hash_is_a_slow_one_and_json_is_one_too(run):
    made = HashedPass.from_dict(json.loads(run("hash", "--json", given="secret\n")[1]))
    assert (made.hash, made.check("secret")) == ("argon2id", True)


def test_an_empty_password_is_not_hashed(run):
    code, printed, error = run("hash", given="\n")
    assert (code, printed) == (1, "")
    assert "empty" in error


def test_beside_a_file_it_has_its_salt(run, file):
    made = yaml.safe_load(run("hash", "--beside", file({**GOOD, "exclusive_access_blocks": []}), given="x\n")[1])
    stored = HashedPass.from_dict(GOOD["passwords"][0]["password_2"])
    assert HashedPass.from_dict(made).salt == stored.salt


class Terminal:
    """A person who types."""

    def __init__(self, *lines):
        self.lines = list(lines)

    def isatty(self):
        return True


@pytest.mark.parametrize(("second", "code"), [("secret", 0), ("sekret", 1)])
def test_a_person_is_asked_twice_and_nothing_is_shown(monkeypatch, capsys, second, code):
    answers = iter(["secret", second])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(access.getpass, "getpass", lambda prompt: next(answers))
    ended = 0
    try:
        ended = main(["access", "hash"])
    except SystemExit as end:
        ended = end.code
    assert ended == code
    assert "secret" not in "".join(capsys.readouterr())


def test_a_good_file_has_nothing_weak(run, file):
    code, printed, _ = run("check", file(GOOD), "--strict")
    assert (code, "0 weak places" in printed) == (0, True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"distrib_hashfunc": "md5"}, "Only agents of ocs 0.12.1 need md5"),
        ({"distrib_hashfunc": "md5"}, "goes out as argon2id"),
        ({"passwords": [{"default": True, "password_2": "sesame-secret"}]}, "stands in clear"),
        ({"passwords": [{"default": True, "password_2": "sesame"}]}, "fewer than 8"),
        ({"passwords": [{"default": True, "password_3": ""}]}, "everybody has level 3-FULL"),
        ({"passwords": [{"default": True, "password_2": "sesame-secret"}]}, "without a password nothing"),
        ({"passwords": [{"default": True, "password_2": {"hash": "md5", "value": "900150983cd24fb0"}}]}, "unsalted"),
        ({"passwords": [{"default": True, "pasword_2": "sesame"}]}, "pasword_2 is not known"),
        ({"passwords": [{"default": True, "password_2": {"hash": "argon2id", "value": "x"}}]}, "will fit nobody"),
        ({"exclusive_access_blocks": [{"name": "lock", "grants": []}]}, "has no password"),
        ({"exclusive_access_blocks": [{"name": "lock", "grants": [{"default": True, "cred_level": 0}]}]}, "neither"),
        ({"exclusive_access_blocks": [{"name": "lock", "grants": [{"cred_level": 3}]}]}, "for no agent"),
        ({"exclusive_access_blocks": [{"name": "lock", "password": "sesame", "grants": []}]}, "stands in clear"),
    ],
)
def test_what_is_weak_is_said_and_no_password_with_it(run, file, change, why):
    path = file({**GOOD, **change})
    code, printed, _ = run("check", path)
    assert (code, why in printed) == (0, True), printed
    assert "sesame" not in printed
    assert run("check", path, "--strict")[0] == 1
    assert any(why in line for line in json.loads(run("check", path, "--json")[1])["weak"])


def test_a_file_for_everybody_is_weak(run, file):
    assert "chmod 600" in run("check", file(GOOD, 0o644))[1]


@pytest.mark.parametrize("content", ["passwords: sesame", "- [sesame", "passwords: [{default: sesame}]"])
def test_a_mistake_is_one_line_and_exit_code_1(run, file, content):
    code, _, error = run("check", file(content))
    assert (code, error.count("\n")) == (1, 1)
    assert "sesame" not in error


def test_without_a_file_the_sites_is_checked(run, file, tmp_path):
    file(GOOD)
    hub = {"wamp_server": "ws://a:8001/ws", "wamp_http": "http://a:8001/call", "wamp_realm": "r", "address_root": "o"}
    for arguments in (["--config-file", "acc.yaml"], [["--config-file", "acc.yaml"]], ["--config-file=acc.yaml"]):
        entry = {"instance-id": "acc", "agent-class": "AccessDirector", "arguments": arguments}
        site = {"hub": hub, "hosts": {"localhost": {"agent-instances": [entry]}}}
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
        code, printed, _ = run("check", "--site-file", str(tmp_path / "site.yaml"))
        assert (code, "acc.yaml: 2 rules, 1 grant" in printed) == (0, True)


@pytest.mark.parametrize("span", ["", "0", "-5min", "1 week", "nan", "inf", "h"])
def test_a_length_of_time_that_is_none_is_a_mistake(run, span):
    code, _, error = run("acquire", "lock", f"--for={span}")
    assert (code, "length of time" in error) == (2, True)


@pytest.mark.parametrize(("word", "seconds"), [("90", 90), ("90s", 90), ("10min", 600), ("1.5h", 5400), ("1 d", 86400)])
def test_lengths_of_time(word, seconds):
    assert access._time(word) == seconds
