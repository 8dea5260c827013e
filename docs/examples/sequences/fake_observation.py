"""Observes with one fake-data agent: cools down, takes data for a while, and stops.

Parameters: agent (default "fake-1"), scans (default 4), seconds of each (default 2).
"""

from typing import Any

from ocs.sequence import Run, at_end, step


def camera(run: Run) -> Any:
    """The agent that takes the data."""
    return run.agent(run.params.get("agent", "fake-1"))


@step("Cool down", weight=1)
def cool_down(run: Run) -> None:
    run.progress(0, "waiting for the cryostat")
    camera(run).delay_task(delay=1)  # a task: waits for its end, and fails with it


@step("Observe", weight=8)
def observe(run: Run) -> None:
    scans, seconds = run.params.get("scans", 4), run.params.get("seconds", 2)
    acq = camera(run).acq
    acq.start()
    for scan in range(scans):
        run.progress(scan / scans, f"scan {scan + 1} of {scans}")
        run.sleep(seconds)  # a pause and an abort take effect here
    reading = acq.status().session["data"]["fields"]
    run.log(f"last temperatures: {reading}")


@at_end
def stop_acquisition(run: Run) -> None:
    """Done however the run ends, also after an abort."""
    acq = camera(run).acq
    acq.stop(check=False)
    acq.wait(timeout=10)
