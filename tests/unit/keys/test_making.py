"""Keys are made, replaced and taken out: what is there stays, and a program killed in between does no harm."""

import stat
import threading
from dataclasses import replace

import pytest

from ocs.errors import KeysError
from ocs.keys import making
from ocs.keys.finding import find_keys, key_path
from ocs.keys.making import add, make_site, revoke, rotate
from ocs.keys.signing import SigningKey
from ocs.keys.table import Identity, SiteTable

AGENT = Identity("fake-1", "agent", ("fake-1",))
CLIENT = Identity("client", "client")
NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "keys"
    make_site(folder, [AGENT, CLIENT], ["daq-1"], NOW)
    return folder


def admitted(folder, name, public, now=NOW):
    try:
        return SiteTable.read(folder).admit(name, public, now).name == name
    except KeysError:
        return False


def public(folder, name):
    return SigningKey.read(key_path(folder, name)).public


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_who_is_wanted_gets_a_key_that_the_router_admits(folder):
    assert all(admitted(folder, name, public(folder, name)) for name in ("fake-1", "client"))
    assert find_keys(folder, ["fake-1"], environ={}).ca == folder / "ca.crt"


def test_secrets_are_closed_to_other_accounts(folder):
    secret = [folder / "ca.key", folder / "server.key", *(folder / "private").iterdir(), folder / "private"]
    assert not [path for path in secret if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]


def test_made_again_nothing_changes(folder):
    before = contents(folder)
    made = make_site(folder, [AGENT, CLIENT], ["daq-1"], NOW + 100)
    assert (made.names, set(made.kept), made.certificate) == ((), {"fake-1", "client"}, False)
    assert contents(folder) == before


def test_made_again_what_is_missing_is_added(folder):
    before = contents(folder)
    wider = replace(AGENT, instances=("fake-1", "components"))
    made = make_site(folder, [wider, Identity("fake-2", "agent", ("fake-2",))], ["daq-1"], NOW)
    assert (made.names, made.widened) == (("fake-2",), ("fake-1",))
    assert SiteTable.read(folder).identities["fake-1"].instances == ("fake-1", "components")
    assert {name: text for name, text in contents(folder).items() if name in before and name != "site.json"} == {
        name: text for name, text in before.items() if name != "site.json"
    }


def test_another_role_is_told_and_not_given(folder):
    made = make_site(folder, [replace(AGENT, role="director")], ["daq-1"], NOW)
    assert made.differing == (
        "fake-1 has the role agent, not director: `ocs keys revoke fake-1`, then `ocs keys init` change that",
    )
    assert SiteTable.read(folder).identities["fake-1"].role == "agent"


def test_a_replaced_key_is_good_for_a_while_yet(folder):
    old = public(folder, "fake-1")
    rotate(folder, "fake-1", NOW, grace=60)
    new = public(folder, "fake-1")
    assert admitted(folder, "fake-1", new, NOW + 1e6)
    assert admitted(folder, "fake-1", old, NOW + 59)
    assert not admitted(folder, "fake-1", old, NOW + 60)


def test_replacing_again_does_not_lengthen_an_old_keys_time(folder):
    old = public(folder, "fake-1")
    rotate(folder, "fake-1", NOW, grace=60)
    rotate(folder, "fake-1", NOW + 30, grace=60)
    assert not admitted(folder, "fake-1", old, NOW + 60)
    rotate(folder, "fake-1", NOW + 200)
    assert len(SiteTable.read(folder).identities["fake-1"].keys) == 2


def test_who_is_revoked_is_admitted_no_more(folder):
    old = public(folder, "fake-1")
    assert revoke(folder, "fake-1").name == "fake-1"
    assert not admitted(folder, "fake-1", old)
    assert not key_path(folder, "fake-1").exists()
    make_site(folder, [AGENT], ["daq-1"], NOW)
    assert not admitted(folder, "fake-1", old)
    assert admitted(folder, "fake-1", public(folder, "fake-1"))


def test_a_revoked_key_that_is_still_there_is_not_taken_in_again(folder):
    text = key_path(folder, "fake-1").read_text()
    revoke(folder, "fake-1")
    key_path(folder, "fake-1").write_text(text)
    with pytest.raises(KeysError, match="fake-1 may not connect: was it revoked"):
        make_site(folder, [AGENT], ["daq-1"], NOW)
    with pytest.raises(KeysError, match="was it revoked"):
        add(folder, AGENT, NOW)


@pytest.mark.parametrize("change", [rotate, lambda folder, name, _now: revoke(folder, name)])
def test_who_is_not_there_cannot_be_changed(folder, change):
    with pytest.raises(KeysError, match=r"no 'fake-9' in site.json; it has: client, fake-1"):
        change(folder, "fake-9", NOW)


def test_who_has_a_key_is_not_added(folder):
    with pytest.raises(KeysError, match="fake-1 has a key already; `ocs keys rotate fake-1`"):
        add(folder, AGENT, NOW)


@pytest.mark.parametrize("written", [False, True])
def test_killed_while_replacing_the_key_there_is_the_one_admitted(folder, monkeypatch, written):
    with monkeypatch.context() as dying:
        dying.setattr(making if written else SiteTable, "_place" if written else "write", _killed)
        with pytest.raises(KeyboardInterrupt):
            rotate(folder, "fake-1", NOW, grace=0)
    add(folder, Identity("alice", "client"), NOW)  # whatever is done next
    assert admitted(folder, "fake-1", public(folder, "fake-1"))
    assert [path.name for path in (folder / "private").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("written", [False, True])
def test_killed_while_making_all_have_one_key_after_the_next_time(tmp_path, monkeypatch, written):
    folder = tmp_path / "keys"
    with monkeypatch.context() as dying:
        dying.setattr(making if written else SiteTable, "_place" if written else "write", _killed)
        with pytest.raises(KeyboardInterrupt):
            make_site(folder, [AGENT, CLIENT], [], NOW)
    make_site(folder, [AGENT, CLIENT], [], NOW)
    assert all(admitted(folder, name, public(folder, name)) for name in ("fake-1", "client"))
    assert len(list((folder / "private").iterdir())) == 2


def _killed(*_args, **_keywords):
    raise KeyboardInterrupt


def test_several_at_once_lose_nothing(folder):
    names = [f"user-{number}" for number in range(8)]
    threads = [threading.Thread(target=add, args=(folder, Identity(name, "client"), NOW)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(admitted(folder, name, public(folder, name)) for name in names)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeysError, match=r"cannot make .*keys: File exists; give another folder with --keys"):
        make_site(tmp_path / "keys", [AGENT], [], NOW)


def test_a_folder_without_a_table_is_left_as_it_is(tmp_path):
    with pytest.raises(KeysError, match="`ocs keys init` makes it"):
        rotate(tmp_path, "fake-1", NOW)
    assert list(tmp_path.iterdir()) == []
