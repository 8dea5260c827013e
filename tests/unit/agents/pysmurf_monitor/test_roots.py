"""In which folders files may be."""

import pytest

from ocs.agents.pysmurf_monitor.roots import DEFAULT_ROOTS, LOOK_AGAIN, Roots


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_documented_folders_are_the_usual_ones():
    assert DEFAULT_ROOTS == ("/data/smurf_data", "/data/so/timestreams", "/data/timestreams")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/data/smurf_data/20261123/x", ""),
        ("/data/timestreams/x", ""),
        ("/data/smurf_data", "outside_roots"),
        ("/data/smurf_data2/x", "outside_roots"),
        ("/data/x", "outside_roots"),
        ("/etc/passwd", "outside_roots"),
        ("/", "outside_roots"),
        ("", "outside_roots"),
        ("data/smurf_data/x", "outside_roots"),
    ],
)
def test_files_are_below_a_root(path, reason):
    assert Roots(DEFAULT_ROOTS).refuses(path) == reason


def test_a_root_may_be_looked_through_itself(tmp_path):
    assert Roots([str(tmp_path)]).allows(str(tmp_path))
    assert not Roots([str(tmp_path)]).allows(str(tmp_path.parent))


@pytest.mark.parametrize("root", ["/data", "/data/", "/data/x/..", "//data", "/"])
def test_a_root_can_be_written_in_any_way(root):
    roots = Roots([root])
    assert (roots.refuses("/data/x"), roots.allows("/data/x")) == ("", True)


def test_roots_are_shown_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Roots(["data"]).roots == (f"{tmp_path}/data",)
    assert Roots(None).roots is None


def test_without_roots_all_is_allowed():
    roots = Roots(None)
    assert (roots.refuses("/etc/passwd"), roots.allows("/etc/passwd")) == ("", True)


def test_with_no_root_nothing_is_allowed():
    roots = Roots([])
    assert (roots.refuses("/etc/passwd"), roots.allows("/etc/passwd")) == ("outside_roots", False)


@pytest.mark.parametrize("given", [None, ["/data"]])
@pytest.mark.parametrize("path", ["/data/db", "/data/db-wal", "/data/state", "/data/state/journal/1"])
def test_what_is_forbidden_is_forbidden_everywhere(given, path):
    roots = Roots(given, ["/data/db", "/data/db-wal", "/data/state"])
    assert (roots.refuses(path), roots.allows(path)) == ("forbidden", False)


def test_what_only_begins_like_something_forbidden_is_allowed():
    roots = Roots(["/data"], ["/data/state"])
    assert (roots.refuses("/data/state2"), roots.allows("/data/state2")) == ("", True)


def test_what_is_forbidden_is_so_by_its_real_name_too(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    roots = Roots(None, [str(tmp_path / "link/db")])
    assert roots.refuses(f"{tmp_path}/link/db") == roots.refuses(f"{real}/db") == "forbidden"
    assert not roots.allows(f"{real}/db")


def test_a_root_may_be_a_link(tmp_path):
    real = tmp_path / "disk2"
    real.mkdir()
    (tmp_path / "data").symlink_to(real)
    roots = Roots([str(tmp_path / "data")])
    assert roots.refuses(f"{tmp_path}/data/x") == roots.refuses(f"{real}/x") == ""
    assert roots.allows(f"{real}/x")


def test_a_root_may_become_a_link_later(tmp_path):
    clock = Clock()
    roots = Roots([str(tmp_path / "data")], steady=clock)
    (tmp_path / "disk2").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk2")
    assert not roots.allows(f"{tmp_path}/disk2/x")
    clock.now += LOOK_AGAIN
    assert roots.allows(f"{tmp_path}/disk2/x")


def test_a_root_that_leads_elsewhere_by_now_allows_that_alone(tmp_path):
    clock = Clock()
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "old")
    roots = Roots([str(tmp_path / "data")], steady=clock)
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to(tmp_path / "new")
    clock.now += LOOK_AGAIN
    assert roots.allows(f"{tmp_path}/new/x")
    assert not roots.allows(f"{tmp_path}/old/x")
