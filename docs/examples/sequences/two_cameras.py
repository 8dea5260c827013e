"""Observes with two fake-data agents at the same time, one azimuth after the other.

Parameters: agents (default ["fake-1", "fake-2"]). The steps are made in a loop, when the script is loaded.
"""

from functools import partial
from typing import Any

from ocs.sequence import Run, at_end, step

AZIMUTHS = (120, 150, 180)
AGENTS = ("fake-1", "fake-2")


def cameras(run: Run) -> list[Any]:
    return [run.agent(name) for name in run.params.get("agents", AGENTS)]


@step("Start both", weight=1)
def start_both(run: Run) -> None:
    for camera in cameras(run):
        camera.acq.start()


def scan(azimuth: int, run: Run) -> None:
    run.progress(0, f"slewing to {azimuth} deg")
    moves = [camera.delay_task for camera in cameras(run)]
    for move in moves:
        move.start(delay=0.5)
    for number, move in enumerate(moves, 1):  # both move at once; this waits for the slower one
        move.wait()
        run.progress(number / len(moves), f"{number} there")
    run.sleep(1)


for azimuth in AZIMUTHS:
    step(f"Scan at {azimuth} deg", weight=4)(partial(scan, azimuth))


@at_end
def stop_both(run: Run) -> None:
    for camera in cameras(run):
        camera.acq.stop(check=False)
