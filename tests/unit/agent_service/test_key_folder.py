"""The service's own keys: private ones stay private, and old tokens hold as long as they say."""

import asyncio
import fcntl
import json
import os
import stat
import threading

import pytest

from ocs.agent_service import key_folder
from ocs.agent_service.key_folder import FolderKeys, KeyFolder, Order
from ocs.agent_service.security import Guard
from ocs.agent_service.settings import SecuritySettings
from ocs.errors import ForbiddenError, KeyFolderError, UnauthenticatedError

NOW = 1_800_000_000.0
HOUR = 3600.0


class Bench:
    """A folder, a guard over it, and the time."""

    def __init__(self, path):
        self.now = NOW
        self.path = path
        self.folder = KeyFolder(path, lambda: self.now)
        self.guard = Guard(SecuritySettings(key_folder=path), clock=lambda: self.now)

    def token(self, subject="ana", seconds=HOUR, roles=("esw-user",), **more):
        return self.folder.issue(Order(subject, seconds, roles, **more))

    def authorise(self, token):
        return asyncio.run(self.guard.authorise(f"Bearer {token}"))

    def refusal(self, token):
        with pytest.raises(UnauthenticatedError) as refused:
            self.authorise(token)
        return str(refused.value)


@pytest.fixture
def empty(tmp_path):
    return Bench(tmp_path / "config" / "keys")


@pytest.fixture
def bench(empty):
    empty.folder.create()
    return empty


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def complaint(function, *arguments, **keywords):
    with pytest.raises(KeyFolderError) as refused:
        function(*arguments, **keywords)
    assert "\n" not in str(refused.value)
    return str(refused.value)


class TestInit:
    def test_only_its_owner_reads_the_private_key(self, bench):
        assert mode(bench.path) == 0o700
        assert mode(bench.path / "private.pem") == 0o600

    def test_whatever_the_umask_lets_through(self, empty):
        before = os.umask(0)
        try:
            empty.folder.create()
        finally:
            os.umask(before)
        assert (mode(empty.path), mode(empty.path / "private.pem")) == (0o700, 0o600)
        assert mode(empty.path / "public.json") == 0o644

    def test_an_empty_folder_is_closed_to_others(self, empty):
        empty.path.mkdir(parents=True)
        empty.path.chmod(0o755)
        empty.folder.create()
        assert mode(empty.path) == 0o700

    def test_a_folder_of_other_things_is_left_alone(self, empty):
        empty.path.mkdir(parents=True)
        empty.path.chmod(0o755)
        (empty.path / "default.yaml").write_text("hub: {}")
        assert complaint(empty.folder.create).endswith(
            "has other files (default.yaml); keys need a folder of their own"
        )
        assert mode(empty.path) == 0o755

    def test_keys_are_not_overwritten(self, bench):
        before = bench.token()
        assert "has keys; --rotate makes new ones" in complaint(bench.folder.create)
        assert bench.authorise(before).subject == "ana"

    def test_unless_forced_which_ends_all_tokens(self, bench):
        before = bench.token()
        bench.folder.create(force=True)
        assert bench.refusal(before) == "the token's key is none of its issuer's; get a new token"
        assert bench.authorise(bench.token()).subject == "ana"

    def test_what_a_killed_init_left_is_no_hindrance(self, empty):
        empty.path.mkdir(parents=True)
        (empty.path / ".private.pem.new").write_text("half")
        empty.folder.create()
        assert empty.authorise(empty.token()).subject == "ana"

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert "Not a directory" in complaint(KeyFolder(tmp_path / "file" / "keys").create)

    def test_nothing_but_the_keys_is_left(self, bench):
        assert {path.name for path in bench.path.iterdir()} == {".lock", "private.pem", "public.json"}

    @pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
    def test_both_algorithms(self, empty, algorithm):
        empty.folder.create(algorithm)
        assert empty.folder.published()[0]["alg"] == algorithm
        assert empty.authorise(empty.token()).roles == ("esw-user",)

    def test_the_public_file_has_no_private_part(self, bench):
        (entry,) = json.loads((bench.path / "public.json").read_text())["keys"]
        assert set(entry) == {"kty", "crv", "x", "y", "kid", "alg", "use", "created"}


class TestTokens:
    def test_a_token_speaks_for_its_subject_until_it_expires(self, bench):
        token = bench.token(seconds=HOUR)
        assert bench.authorise(token).subject == "ana"
        bench.now += HOUR + 29
        assert bench.authorise(token).subject == "ana"
        bench.now += 1
        assert bench.refusal(token) == "the token has expired 30 s ago (exp); get a new one"

    def test_the_role_has_to_be_right(self, bench):
        with pytest.raises(ForbiddenError, match="ana lacks the role 'esw-user'"):
            bench.authorise(bench.token(roles=("observer",)))

    def test_the_audience_has_to_be_right(self, bench):
        assert "is for \"another\", not for 'ocs-agent-service'" in bench.refusal(bench.token(audience="another"))

    def test_roles_stand_where_they_are_looked_for(self, bench):
        bench.guard = Guard(SecuritySettings(key_folder=bench.path, role_claim="a.b.c"), clock=lambda: bench.now)
        assert bench.authorise(bench.token(role_claim="a.b.c")).roles == ("esw-user",)

    @pytest.mark.parametrize("seconds", [0, -1, 91 * 86400, float("inf"), float("nan")])
    def test_none_holds_for_ever(self, bench, seconds):
        assert complaint(bench.token, seconds=seconds) == "a token holds for at most 90 days"

    def test_a_private_key_that_others_read_signs_nothing(self, bench):
        (bench.path / "private.pem").chmod(0o640)
        assert "others can read" in complaint(bench.token)

    def test_a_folder_that_others_write_counts_for_nothing(self, bench):
        token = bench.token()
        bench.path.chmod(0o770)
        assert "others can write in" in complaint(bench.token)
        assert "others can write in" in bench.refusal(token)

    def test_nor_does_a_public_file_that_others_write(self, bench):
        token = bench.token()
        (bench.path / "public.json").chmod(0o666)
        assert "others can write in" in bench.refusal(token)

    @pytest.mark.parametrize("content", ["", "[]", "{", '{"keys": 7}', '{"keys": [7]}', '{"keys": [{"until": "x"}]}'])
    def test_a_damaged_public_file(self, bench, content):
        token = bench.token()
        (bench.path / "public.json").write_text(content)
        assert "holds no set of public keys" in complaint(bench.token)
        assert bench.refusal(token).startswith("the service cannot read its keys")

    def test_a_damaged_private_file(self, bench):
        (bench.path / "private.pem").write_text("-----BEGIN")
        assert complaint(bench.token).endswith("private.pem holds no private key")

    def test_files_that_do_not_belong_together(self, bench, tmp_path):
        other = Bench(tmp_path / "other")
        other.folder.create()
        (bench.path / "public.json").write_bytes((other.path / "public.json").read_bytes())
        assert "do not belong together" in complaint(bench.token)

    def test_no_keys(self, empty):
        assert "`ocs-agent-service init` makes them" in complaint(empty.token)
        with pytest.raises(KeyFolderError, match="`ocs-agent-service init` makes them"):
            asyncio.run(empty.guard.start())

    def test_the_public_file_alone_is_enough_for_a_service(self, bench):
        token = bench.token()
        (bench.path / "private.pem").unlink()
        assert bench.authorise(token).subject == "ana"


class TestRotation:
    def test_old_tokens_hold_until_they_expire(self, bench):
        short, long = bench.token(seconds=HOUR), bench.token(seconds=2 * HOUR)
        bench.folder.rotate()
        bench.now += HOUR + 60
        assert bench.authorise(long).subject == "ana"
        assert "has expired" in bench.refusal(short)

    def test_new_tokens_have_the_new_key(self, bench):
        before = bench.folder.published()[0]["kid"]
        after = bench.folder.rotate()
        assert after != before
        assert bench.authorise(bench.token()).subject == "ana"
        assert [entry["kid"] for entry in bench.folder.published()] == [after]  # the old one has signed nothing

    def test_the_old_key_goes_with_its_last_token(self, bench):
        bench.token(seconds=2 * HOUR)
        token = bench.token(seconds=HOUR)
        asyncio.run(bench.guard.start())
        bench.folder.rotate()
        bench.authorise(token)

        bench.now += 2 * HOUR + 31

        assert bench.refusal(token) == "the token's key is none of its issuer's; get a new token"
        assert len(bench.folder.published()) == 1

    def test_a_later_rotation_does_not_keep_old_keys_longer(self, bench):
        bench.token(seconds=HOUR)
        for _ in range(3):
            bench.folder.rotate()
        assert len(bench.folder.published()) == 2
        bench.now += HOUR + 31
        bench.folder.rotate()
        assert len(json.loads((bench.path / "public.json").read_text())["keys"]) == 1

    def test_the_kind_of_key_stays_unless_another_is_asked_for(self, empty):
        empty.folder.create("RS256")
        empty.folder.rotate()
        assert empty.folder.published()[0]["alg"] == "RS256"
        empty.folder.rotate("ES256")
        assert empty.folder.published()[0]["alg"] == "ES256"

    def test_there_has_to_be_a_key(self, empty):
        assert "init` makes them" in complaint(empty.folder.rotate)

    def test_a_rotation_that_was_broken_off_half_way(self, bench):
        bench.token(seconds=HOUR)
        private = (bench.path / "private.pem").read_bytes()
        bench.folder.rotate()
        (bench.path / "private.pem").write_bytes(private)  # as if the new one had never got there

        token = bench.token(seconds=3 * HOUR)

        bench.now += 2 * HOUR
        assert bench.authorise(token).subject == "ana"
        bench.folder.rotate()
        assert bench.authorise(token).subject == "ana"
        assert len(bench.folder.published()) == 2

    def test_a_program_that_was_stopped_holds_nobody_up_for_ever(self, bench, monkeypatch):
        monkeypatch.setattr(key_folder, "_LOCK_SECONDS", 0.1)
        with (bench.path / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert "another program has held" in complaint(bench.token)
        assert bench.authorise(bench.token()).subject == "ana"

    def test_tokens_made_at_the_same_time_all_hold(self, bench):
        made = []
        makers = [threading.Thread(target=lambda: made.append(bench.token(seconds=HOUR))) for _ in range(8)]
        for maker in makers:
            maker.start()
        bench.folder.rotate()
        for maker in makers:
            maker.join()
        assert [bench.authorise(token).subject for token in made] == ["ana"] * 8


def test_a_service_reads_its_files_only_when_they_change(bench, monkeypatch):
    keys = FolderKeys(bench.path)
    asyncio.run(keys.start())
    kid = bench.folder.published()[0]["kid"]
    monkeypatch.setattr(KeyFolder, "published", lambda _: pytest.fail("read again"))
    assert asyncio.run(keys.find(kid)).kid == kid
    assert asyncio.run(keys.find("another")) is None
