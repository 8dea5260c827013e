"""What `ocs config check` says of a closed site."""

import pytest

from ocs.inspection.check import check_file

CLOSED = """\
hub:
  wamp_server: wss://127.0.0.1:8001/ws
  wamp_http: https://127.0.0.1:8001/call
  wamp_realm: test_realm
  address_root: observatory
  keys: keys
hosts:
  localhost:
    agent-instances:
    - {agent-class: HostManager, instance-id: hm}
    - {agent-class: FakeDataAgent, instance-id: elsewhere, manage: docker}
"""


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.delenv("OCS_KEYS", raising=False)
    private = tmp_path / "keys" / "private"
    private.mkdir(parents=True)
    (private / "hm.key").touch()

    def found(text=CLOSED):
        path = tmp_path / "site.yaml"
        path.write_text(text)
        report = check_file(str(path), working_dir=str(tmp_path), site_host="localhost")
        lines = [str(one).replace(f"{path}:", "", 1) for one in report.problems]
        return [line for line in lines if "docker" not in line]

    found.folder = tmp_path / "keys"
    return found


def test_a_closed_site_with_its_keys_is_right(found):
    assert found() == []


@pytest.mark.parametrize(("plain", "line", "remedy"), [("ws", 2, "wss://127"), ("http", 3, "https://127")])
def test_an_address_without_tls_is_a_mistake_where_there_are_keys(found, plain, line, remedy):
    text = CLOSED.replace(f"{plain}s://", f"{plain}://")
    (told,) = found(text)
    assert told.startswith(f"{line}: error: ")
    assert remedy in told
    assert found(text.replace("  keys: keys\n", "")) == []


def test_a_host_s_own_address_and_keys_are_looked_at(found):
    own = "  localhost:\n    keys: others\n    wamp_server: ws://router:8001/ws\n"
    text = CLOSED.replace("  keys: keys\n", "").replace("  localhost:\n", own)
    tls, folder = sorted(found(text), key=lambda told: "no folder" in told)
    assert tls.startswith("9: error: wamp_server: the site is closed")
    assert folder.startswith(f"8: error: no folder {found.folder.parent / 'others'}")


def test_a_key_that_is_not_here_is_told_with_its_instance(found):
    (found.folder / "private" / "hm.key").unlink()
    (told,) = found()
    assert told.startswith(f"10: error: no key {found.folder / 'private' / 'hm.key'}")
    named = CLOSED.replace("instance-id: hm}", "instance-id: hm, arguments: [--key-file, /run/hm.key]}")
    assert found(named) == []


def test_an_instance_that_cannot_have_a_key_is_told(found):
    (told,) = found(CLOSED.replace("instance-id: hm", "instance-id: hö"))
    assert told.startswith("10: error: ")
