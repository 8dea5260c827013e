"""Nothing that an agent published is lost or recorded twice, whatever fails meanwhile: counted sample by sample.

Each fault has an observatory of real processes to itself; several run at the same time, before the first test. See
docs/developer/recording-faults.md.
"""

import os

import pytest

from tests.harness.recording.faults import FAULTS
from tests.harness.recording.runs import Run, do_all

# The runs that are made at a time take some minutes together, all before the first test.
pytestmark = [pytest.mark.alone, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

AT_ONCE = 7
SECONDS = {"recorder-frozen": 2, "crash-loop": 6, "disk-full": 4, "read-only": 4, "slow-disk": 6, "power-cut-alone": 8}
RUNS = [
    *(Run(name, "ours", SECONDS.get(name, 3)) for name in FAULTS),
    *(Run("power-cut-alone", "ours", seconds) for seconds in (0.5, 1.25, 2.5, 4)),
]
STRANGERS = [
    Run("calm", "ours", 3, publishers=("published",)),
    Run("crash-loop", "ours", 5, publishers=("published",)),
]


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """Make the runs of those tests of this module that have been asked for."""
    asked = [item.callspec.params["run"] for item in request.session.items if item.path == request.path]
    if any(run.publishers for run in asked):
        request.getfixturevalue("published_python")
    done = do_all(dict.fromkeys(asked), tmp_path_factory.mktemp("recording"), parallel=AT_ONCE)
    return {result.run: result for result in done}


@pytest.fixture
def result(results, run):
    result = results[run]
    if result.skipped:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(result.skipped)
    print(result.report())  # pytest shows it if the test fails
    assert not result.trouble, result.report()
    return result


def name_of(run):
    return run.name


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_every_sample_is_recorded_once_in_order_and_every_file_reads_to_its_end(result, run):
    assert result.balanced, result.report()
    assert not result.gone, result.report()


@pytest.mark.parametrize("run", STRANGERS, ids=name_of)
def test_of_an_agent_of_the_published_package_nothing_is_recorded_twice_or_wrong(result, run):
    (books,) = result.books
    for what in ("duplicated", "disordered", "wrong", "foreign"):
        assert books.total(what) == 0, result.report()
    if run.fault == "calm":
        assert books.balanced, result.report()
