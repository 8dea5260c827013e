"""`ocs keys`: what it makes and prints, its exit codes, and that mistakes are a line."""

import json
import stat
import time
from pathlib import Path

import pytest
import yaml

from ocs.cli.main import main
from ocs.keys.signing import SigningKey, verify_token
from ocs.keys.table import SiteTable

INSTANCES = {"registry": "RegistryAgent", "fake-1": "FakeDataAgent"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OCS_KEYS", "OCS_KEY_FILE", "OCS_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keys(capsys, tmp_path):
    """Return a function that runs `ocs keys` on a site, and returns exit code, standard output and error."""
    write_site(tmp_path, INSTANCES)

    def keys(*words):
        try:
            code = main(["keys", words[0], "--site-file", str(tmp_path / "site.yaml"), *words[1:]])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return keys


def write_site(folder, instances, server="ws://daq-1:8001/ws"):
    hub = {"wamp_server": server, "wamp_http": "http://daq-1:8001/call", "wamp_realm": "r", "address_root": "o"}
    entries = [{"instance-id": name, "agent-class": agent_class} for name, agent_class in instances.items()]
    site = {"hub": hub, "hosts": {"localhost": {"agent-instances": entries}}}
    (folder / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))


@pytest.fixture
def folder(keys, tmp_path):
    assert keys("init")[0] == 0
    return tmp_path / "keys"


def test_init_makes_the_keys_and_says_what_to_do_next(keys, tmp_path):
    code, out, _ = keys("init")
    first, _, *steps = out.splitlines()
    assert code == 0
    assert first == f"made 4 keys in {tmp_path}/keys: registry, fake-1, client, observer"
    assert len(steps) == 5
    assert steps[0].split("   ")[-3:] == [
        "keys: keys",
        "wamp_server: wss://daq-1:8001/ws",
        "wamp_http: https://daq-1:8001/call",
    ]


def test_init_again_adds_what_is_missing_and_keeps_the_rest(keys, folder, tmp_path):
    before = (folder / "private" / "fake-1.key").read_bytes()
    write_site(tmp_path, {**INSTANCES, "fake-2": "FakeDataAgent"}, server="ws://daq-2:8001/ws")
    code, out, _ = keys("init")
    assert code == 0
    assert out.splitlines() == [
        f"made 1 key in {folder}: fake-2",
        "copy each to the machine that needs it; the router takes note of them by itself",
        "the router has a new certificate: restart it",
    ]
    assert (folder / "private" / "fake-1.key").read_bytes() == before


def test_init_tells_of_another_role(keys, folder, tmp_path):
    write_site(tmp_path, {"registry": "RegistryAgent", "fake-1": "AccessDirector"})
    code, _, err = keys("init")
    assert code == 1
    assert "fake-1 has the role agent, not director" in err


def test_init_as_json(keys, tmp_path):
    told = json.loads(keys("init", "--json")[1])
    assert told["folder"] == f"{tmp_path}/keys"
    assert (told["made"], told["kept"]) == (["registry", "fake-1", "client", "observer"], [])
    assert told["new_certificate"]
    assert told["certificate_until"] > time.time() + 3e8


def test_list_shows_who_may_connect(keys, folder):
    keys("rotate", "fake-1", "--grace", "2")
    _, out, _ = keys("list")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert list(rows) == ["name", "client", "fake-1", "observer", "registry"]
    assert SigningKey.read(folder / "private" / "fake-1.key").public[:8] in rows["fake-1"]
    assert " until 20" in rows["fake-1"]
    told = json.loads(keys("list", "--json")[1])["fake-1"]
    assert (told["role"], told["instances"], [key["holds"] for key in told["keys"]]) == (
        "agent",
        ["fake-1"],
        [True] * 2,
    )


def test_who_is_added_may_connect_and_who_is_revoked_may_not(keys, folder):
    assert keys("add", "alice", "--role", "client")[0] == 0
    assert keys("add", "test", "--role", "agent", "--instances", "test-1", "test-2")[0] == 0
    table = SiteTable.read(folder)
    assert (table.identities["alice"].instances, table.identities["test"].instances) == ((), ("test-1", "test-2"))
    assert keys("revoke", "alice")[1] == "alice (client) may connect no more; the router closes its connections now\n"
    assert "alice" not in SiteTable.read(folder).identities


def test_a_token_is_one_that_the_bridge_takes(keys, folder):
    table, now = SiteTable.read(folder), time.time()
    assert verify_token(keys("token")[1].strip(), table, "r", now).name == "client"
    told = json.loads(keys("token", "--name", "observer", "--for", "60", "--json")[1])
    assert verify_token(told["token"], table, told["realm"], now).role == "observer"
    assert now - 1 < told["until"] - 60 < now + 5


def test_nothing_is_wrong_with_what_init_made(keys, folder):
    assert keys("check") == (0, f"{folder}: nothing wrong\n", "")
    assert json.loads(keys("check", "--json")[1]) == {"ok": True, "folder": str(folder), "problems": []}


def wrong(keys, *words):
    code, out, _ = keys("check", *words)
    return code, out.splitlines()


def test_check_tells_of_files_that_others_can_use(keys, folder):
    for name in ("ca.key", "private/fake-1.key"):
        (folder / name).chmod(0o640)
    (folder / "site.json").chmod(0o664)
    table, private = folder / "site.json", folder / "private" / "fake-1.key"
    assert wrong(keys) == (
        1,
        [
            f"error: {folder}/ca.key can be used by other accounts; chmod 600 {folder}/ca.key",
            f"error: {private} can be used by other accounts; chmod 600 {private}",
            f"error: other accounts can write {table}, and so admit themselves; chmod 644 {table}",
        ],
    )


def test_check_tells_where_table_and_site_file_differ(keys, folder, tmp_path):
    write_site(tmp_path, {"fake-1": "SequenceManager", "fake-2": "FakeDataAgent"}, server="ws://daq-9:8001/ws")
    assert wrong(keys) == (
        1,
        [
            f"error: {folder}/server.crt is not for daq-9, by which the site file has the router: `ocs keys init`",
            "error: fake-1 may not use components; `ocs keys init` mends that",
            "error: fake-2 has no key; `ocs keys init` makes it",
            "warning: registry may connect, and is no instance of the site file: `ocs keys revoke registry`?",
        ],
    )


def test_check_tells_of_keys_that_the_router_does_not_admit(keys, folder, tmp_path):
    old = (folder / "private" / "fake-1.key").read_bytes()
    keys("rotate", "fake-1", "--grace", "2")
    (folder / "private" / "fake-1.key").write_bytes(old)
    code, lines = wrong(keys)
    assert (code, len(lines)) == (0, 1)
    assert lines[0].startswith(f"warning: {folder}/private/fake-1.key ends 20")
    keys("rotate", "fake-1", "--grace", "0")
    (folder / "private" / "fake-1.key").write_bytes(old)
    (folder / "private" / "registry.key").write_text("no key\n")
    (folder / "private" / "bob.key").write_bytes(old)
    (folder / "private" / "bob.key").chmod(0o600)
    code, lines = wrong(keys)
    assert code == 1
    assert [line.split(":")[1].split(" is ")[-1].split(" holds ")[-1] for line in lines] == [
        "of nobody who may connect",
        "not the key that the router admits",
        "no key",
    ]


def test_check_of_a_certificate_that_ends(keys, folder, monkeypatch):
    then = time.time() + 3650 * 86400 - 30 * 86400
    monkeypatch.setattr("ocs.cli.keys.time.time", lambda: then)
    code, (line,) = wrong(keys)
    assert code == 0
    assert line.startswith(f"warning: {folder}/server.crt ends 20")
    assert line.endswith("`ocs keys init`, then restart the router")


def test_check_on_a_machine_that_has_its_own_keys_alone(keys, folder, tmp_path):
    own = tmp_path / "own"
    (own / "private").mkdir(parents=True)
    (own / "private" / "fake-1.key").write_bytes((folder / "private" / "fake-1.key").read_bytes())
    (own / "private" / "fake-1.key").chmod(0o600)
    assert wrong(keys, "--keys", str(own)) == (
        1,
        [
            f"note: {own} has no site.json: it is not the router's own, so what is checked is what is here",
            f"note: no {own}/ca.crt: programs take the router's certificate only if this system knows its authority",
            f"error: no {own}/private/registry.key: copy it from the router's keys folder, or registry cannot connect",
        ],
    )


def test_check_without_anything(keys, tmp_path):
    assert wrong(keys) == (1, [f"error: no folder {tmp_path}/keys; `ocs keys init` makes it, on the router's machine"])


def test_the_folder_comes_from_the_option_the_environment_the_site_file(keys, tmp_path, monkeypatch):
    site = yaml.safe_load((tmp_path / "site.yaml").read_text())
    site["hub"]["keys"] = "named"
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    keys("init")
    monkeypatch.setenv("OCS_KEYS", str(tmp_path / "environment"))
    keys("init")
    keys("init", "--keys", str(tmp_path / "option"))
    assert {path.parent.name for path in tmp_path.glob("*/site.json")} == {"named", "environment", "option"}


def test_given_certificates_are_taken(keys, folder, tmp_path):
    other = tmp_path / "other"
    files = ["--cert", str(folder / "server.crt"), "--cert-key", str(folder / "server.key")]
    assert keys("init", "--keys", str(other), *files, "--ca", str(folder / "ca.crt"))[0] == 0
    assert (other / "server.crt").read_bytes() == (folder / "server.crt").read_bytes()
    assert not (other / "ca.key").exists()
    assert stat.S_IMODE((other / "server.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["init", "--cert", "x"], "needs both --cert FILE and --cert-key FILE"),
        (["init", "--cert", "/nowhere", "--cert-key", "/nowhere"], "has an authority of its own"),
        (["init", "--name", "a b"], "'a b' cannot be a name of the router"),
        (["list", "--keys", "/nowhere"], "no /nowhere/site.json"),
        (["rotate", "bob"], "no 'bob' in site.json; it has: client, fake-1, observer, registry"),
        (["rotate", "fake-1", "--grace", "x"], "'x' is no number of hours"),
        (["rotate", "fake-1", "--grace", "-1"], "'-1' is no number of hours"),
        (["revoke", "../x"], "no '../x' in site.json"),
        (["add", "a b", "--role", "client"], "'a b' cannot be a name"),
        (["add", "bob", "--role", "king"], "invalid choice: 'king'"),
        (["add", "bob"], "--role"),
        (["add", "bob", "--role", "client", "--instances", "bob"], "a client has no instances"),
        (["add", "fake-1", "--role", "agent"], "fake-1 has a key already"),
        (["add", "bob", "--role", "agent", "--instances", "*"], "'*' cannot be an instance-id"),
        (["token", "--for", "4000"], "a token holds for 1 to 3600 s, not 4000"),
        (["token", "--name", "bob"], "bob.key"),
    ],
)
def test_a_mistake_is_a_line(keys, folder, words, says):
    code, out, err = keys(*words)
    assert code in (1, 2)
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_without_a_site_file_the_folder_is_enough(keys, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "list", "--keys", str(folder)]) == 0
    assert main(["keys", "check", "--keys", str(folder)]) == 0
    assert main(["keys", "list"]) == 1
    assert "OCS_CONFIG_DIR" in capsys.readouterr().err
    assert main(["keys", "init", "--site", "none", "--keys", "plain"]) == 0
    assert sorted(path.name for path in Path("plain/private").iterdir()) == ["client.key", "observer.key"]
