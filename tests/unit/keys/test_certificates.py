"""The router's certificate: a TLS client that has the site's authority takes it for the site's names, and no other."""

import ssl

import pytest

from ocs.errors import KeysError
from ocs.keys.certificates import Certificate, certify, chain_files, take_given

NOW = 1_800_000_000.0
YEAR = 365 * 86400.0


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    assert certify(folder, ["daq-1.example", "10.1.2.3"], _now())
    return folder


def _now():
    import time

    return time.time()


def handshake(folder, authority, name):
    """Return whether a client with this authority takes the folder's server for the name."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "server.crt", folder / "server.key")
    server = theirs.wrap_bio(client_out, client_in, server_side=True)
    ours = ssl.create_default_context(cafile=authority)
    ours.verify_flags |= ssl.VERIFY_X509_STRICT
    client = ours.wrap_bio(client_in, client_out, server_hostname=name)
    for _ in range(10):
        done = 0
        for end in (client, server):
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
        if done == 2:
            return True
    raise AssertionError("neither done nor refused")


@pytest.mark.parametrize("name", ["daq-1.example", "10.1.2.3", "localhost", "127.0.0.1", "::1", "DAQ-1.example"])
def test_the_routers_names_are_taken(folder, name):
    assert handshake(folder, folder / "ca.crt", name)


@pytest.mark.parametrize("name", ["daq-2.example", "10.1.2.4", "example"])
def test_other_names_are_not(folder, name):
    assert not handshake(folder, folder / "ca.crt", name)


def test_another_sites_authority_does_not_vouch(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    certify(other, ["daq-1.example"], _now())
    assert not handshake(folder, other / "ca.crt", "daq-1.example")


def test_a_server_cannot_sign_for_others(folder):
    assert not handshake(folder, folder / "server.crt", "daq-1.example")


def test_a_further_name_gives_a_new_one_of_the_same_authority_with_the_old_names_too(folder):
    authority = (folder / "ca.crt").read_bytes()
    assert not certify(folder, ["DAQ-1.example"], _now())
    assert certify(folder, ["daq-2.example"], _now())
    assert (folder / "ca.crt").read_bytes() == authority
    assert handshake(folder, folder / "ca.crt", "daq-2.example")
    assert handshake(folder, folder / "ca.crt", "daq-1.example")


def test_it_is_renewed_before_it_ends_and_never_outlives_its_authority(tmp_path):
    certify(tmp_path, [], NOW)
    until = Certificate.read(tmp_path).until
    assert not certify(tmp_path, [], until - 61 * 86400)
    assert certify(tmp_path, [], until - 59 * 86400)
    assert certify(tmp_path, [], NOW + 19.9 * YEAR)
    assert Certificate.read(tmp_path).until == NOW + 20 * YEAR
    with pytest.raises(KeysError, match=r"ca.crt has ended: move it"):
        certify(tmp_path, [], NOW + 20 * YEAR)


def test_half_written_it_is_made_again(folder):
    (folder / "server.key").write_bytes((folder / "ca.key").read_bytes())
    with pytest.raises(KeysError, match=r"server.key is not the key of .*server.crt"):
        Certificate.read(folder)
    assert certify(folder, ["daq-1.example"], _now())
    assert handshake(folder, folder / "ca.crt", "daq-1.example")


@pytest.mark.parametrize("name", ["", "a b", "*", "a*b", "-x", "x" * 300, "a\n"])
def test_what_is_no_name_is_told(tmp_path, name):
    with pytest.raises(KeysError, match="cannot be a name of the router"):
        certify(tmp_path, [name], NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def given(folder, tmp_path):
    """A folder with a certificate of somebody else's making."""
    given = tmp_path / "given"
    given.mkdir()
    take_given(given, folder / "server.crt", folder / "server.key", folder / "ca.crt")
    return given


def test_a_given_one_is_taken_and_left_alone(given):
    assert handshake(given, given / "ca.crt", "daq-1.example")
    assert not Certificate.read(given).is_own
    assert not certify(given, ["daq-9.example"], _now())


def test_a_given_one_replaces_a_given_one(given, folder):
    certify(folder, ["daq-2.example"], _now())
    take_given(given, folder / "server.crt", folder / "server.key")
    assert (given / "server.crt").read_bytes() == (folder / "server.crt").read_bytes()
    assert not (given / "ca.crt").exists()


def test_a_given_one_does_not_replace_the_sites_own(given, folder):
    with pytest.raises(KeysError, match="has an authority of its own"):
        take_given(folder, given / "server.crt", given / "server.key")


def test_files_that_do_not_belong_together_are_refused(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(KeysError, match=r"ca.key is not the key of"):
        take_given(empty, folder / "server.crt", folder / "ca.key")
    with pytest.raises(KeysError, match=r"server.key is no certificate in PEM"):
        take_given(empty, folder / "server.key", folder / "server.key")
    with pytest.raises(KeysError, match=r"server.crt is no private key in PEM"):
        take_given(empty, folder / "server.crt", folder / "server.crt")
    assert list(empty.iterdir()) == []


def test_what_is_between_the_router_and_its_authority_is_kept_one_in_a_file(folder, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    own, between = (folder / "server.crt").read_text(), (folder / "ca.crt").read_text()
    (tmp_path / "chain.pem").write_text(f"{own}some words\n{between}{between}")
    take_given(given, tmp_path / "chain.pem", folder / "server.key")
    assert [path.read_text() for path in chain_files(given)] == [between, between]
    take_given(given, folder / "server.crt", folder / "server.key")
    assert chain_files(given) == []
