"""The faults: each begins, lasts, and ends. Small, and free to be mixed as long as they do not touch the same thing."""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.harness.recording.disk import NO_SPACE, READ_ONLY
from tests.harness.recording.observatory import ROUTER_S, Observatory

POWER_CUT_S = 2.0  # what may be lost of a power cut
PUBLISHER_KILL_S = 1.0  # what an agent that is killed may take with it
SLOW_WRITE_S = 2.0


def nothing(_: Observatory) -> None:
    """Nothing happens."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong for a while.

    Args:
        name: on the command line and in the table.
        title: what happens, for people.
        begin, middle, end: what is done at its beginning, half-way through, and at its end.
        during: what is done again and again while it lasts.
        touches: what it needs for itself; faults that touch the same thing are not mixed.
        needs: keywords of `Observatory`.
        lasts: whether it has a duration at all.
    """

    name: str
    title: str
    begin: Callable[[Observatory], None]
    end: Callable[[Observatory], None] = nothing
    middle: Callable[[Observatory], None] = nothing
    during: Callable[[Observatory], None] = nothing
    touches: frozenset[str] = frozenset()
    needs: dict[str, Any] = field(default_factory=dict)
    lasts: bool = True


def kill_router(world: Observatory) -> None:
    world.router.kill()


def start_router(world: Observatory) -> None:
    world.router.start(ROUTER_S)


def kill_recorder(world: Observatory) -> None:
    world.recorders[0].kill()


def terminate_recorder(world: Observatory) -> None:
    world.recorders[0].terminate()


def start_recorder(world: Observatory) -> None:
    world.recorders[0].start()


def upgrade_recorder(world: Observatory) -> None:
    terminate_recorder(world)
    start_recorder(world)


def crash_recorder(world: Observatory) -> None:
    kill_recorder(world)
    start_recorder(world)


def cut(link: str) -> Callable[[Observatory], None]:
    """Close all connections; new ones hang."""

    def begin(world: Observatory) -> None:
        getattr(world, link).stall()
        getattr(world, link).cut()

    return begin


def mend(link: str) -> Callable[[Observatory], None]:
    def end(world: Observatory) -> None:
        getattr(world, link).resume()
        getattr(world, link).cut()  # whatever hung begins anew

    return end


def order(link: str, what: str) -> Callable[[Observatory], None]:
    return lambda world: getattr(getattr(world, link), what)()


def restart_publishers(world: Observatory) -> None:
    for each in world.publishers:
        each.terminate()
        each.start()


def kill_publisher(world: Observatory) -> None:
    victim = world.publishers[0]
    victim.kill()
    world.excuse(PUBLISHER_KILL_S, "killed", [victim])


def start_publisher(world: Observatory) -> None:
    world.publishers[0].start()


def crash_again(world: Observatory) -> None:
    recorder = world.recorders[0]
    if recorder.age > world.chance.uniform(1, 6):
        crash_recorder(world)


def flap(world: Observatory) -> None:
    if world.chance.random() < 0.5:
        world.chance.choice([world.publisher_link, world.recorder_link]).cut()


def freeze_recorder(world: Observatory) -> None:
    world.recorders[0].signal(signal.SIGSTOP)


def thaw_recorder(world: Observatory) -> None:
    world.recorders[0].signal(signal.SIGCONT)


def fill_disks(world: Observatory) -> None:
    for disk in world.disks:
        disk.fill()
    if not world.disks:
        world.shims[0].set(refuse=NO_SPACE)


def free_disks(world: Observatory) -> None:
    for disk in world.disks:
        disk.free()
    if not world.disks:
        heal_disk(world)


def read_only(world: Observatory) -> None:
    world.shims[0].set(refuse=READ_ONLY)


def slow_disk(world: Observatory) -> None:
    world.shims[0].set(write_delay=SLOW_WRITE_S, sync_delay=SLOW_WRITE_S)


def heal_disk(world: Observatory) -> None:
    world.shims[0].set()


def leave_agents_alone(world: Observatory) -> None:
    kill_recorder(world)
    world.shims[1].set(refuse=NO_SPACE)


def help_agents(world: Observatory) -> None:
    world.shims[1].set()
    start_recorder(world)


_HOLD = """
import fcntl, mmap, pathlib, sys, time
held = []
for path in pathlib.Path(sys.argv[1]).rglob("*.g3"):
    file = path.open("r+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    fcntl.lockf(file, fcntl.LOCK_EX)
    held.append((file, path.stat().st_size and mmap.mmap(file.fileno(), 0)))
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def hold_files(world: Observatory) -> None:
    """Let another process open, lock and map every file that there is."""
    command = [sys.executable, "-c", _HOLD, str(world.recorders[0].data), "3600"]
    process = world.run(command)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"


def release_files(world: Observatory) -> None:
    world.end_helpers()


def cut_power(world: Observatory) -> None:
    """Kill everything at one instant; what had not been brought to the disks is lost."""
    world.excuse(POWER_CUT_S, "power cut")
    for member in world.members:
        if member.is_alive:
            member.signal(signal.SIGKILL)
    world.router.kill()
    for member in world.members:
        member.kill()
    for excuse in world.excuses[-len(world.publishers) :]:
        excuse.until = time.time()
    for shim in world.shims:
        shim.lose_power(world.chance)


def cut_power_for_a_moment(world: Observatory) -> None:
    cut_power(world)
    restore_power(world)


def restore_power(world: Observatory) -> None:
    start_router(world)
    for member in world.members:
        member.start()


_SHIM = {"with_shim": True}
_PUBLISHERS, _RECORDERS = "publisher_link", "recorder_link"

_ALL = [
    Fault("calm", "nothing", nothing),
    Fault("router-kill", "router: SIGKILL, away", kill_router, start_router, touches=frozenset({"router"})),
    Fault("recorder-kill", "aggregator: SIGKILL, away", kill_recorder, start_recorder, touches=frozenset({"recorder"})),
    Fault("recorder-crash", "aggregator: SIGKILL, started again at once", crash_recorder,
          touches=frozenset({"recorder"}), lasts=False),
    Fault("recorder-term", "aggregator: SIGTERM, away", terminate_recorder, start_recorder,
          touches=frozenset({"recorder"})),
    Fault("upgrade", "aggregator: SIGTERM, started again at once", upgrade_recorder,
          touches=frozenset({"recorder"}), lasts=False),
    Fault("recorder-frozen", "aggregator: SIGSTOP, SIGCONT", freeze_recorder, thaw_recorder,
          touches=frozenset({"recorder"})),
    Fault("crash-loop", "aggregator: SIGKILL again and again", crash_recorder, during=crash_again,
          touches=frozenset({"recorder"})),
    Fault("flapping", "all links: cut again and again", nothing, during=flap,
          touches=frozenset({_PUBLISHERS, _RECORDERS})),
    Fault("cut-publishers", "agents' link to the router: cut", cut(_PUBLISHERS), mend(_PUBLISHERS),
          touches=frozenset({_PUBLISHERS})),
    Fault("cut-recorder", "aggregator's link to the router: cut", cut(_RECORDERS), mend(_RECORDERS),
          touches=frozenset({_RECORDERS})),
    Fault("stall-publishers", "agents' link: stalled, then goes on", order(_PUBLISHERS, "stall"),
          order(_PUBLISHERS, "resume"), touches=frozenset({_PUBLISHERS})),
    Fault("stall-recorder", "aggregator's link: stalled, then goes on", order(_RECORDERS, "stall"),
          order(_RECORDERS, "resume"), touches=frozenset({_RECORDERS})),
    Fault("half-open-publishers", "agents' connections: half-open for ever", order(_PUBLISHERS, "forget"),
          touches=frozenset({_PUBLISHERS}), lasts=False),
    Fault("half-open-recorder", "aggregator's connection: half-open for ever", order(_RECORDERS, "forget"),
          touches=frozenset({_RECORDERS}), lasts=False),
    Fault("restart-without-recorder", "agents restarted while the aggregator is away", kill_recorder, start_recorder,
          middle=restart_publishers, touches=frozenset({"recorder", "publisher"})),
    Fault("restart-without-router", "agents restarted while the router is away", kill_router, start_router,
          middle=restart_publishers, touches=frozenset({"router", "publisher"})),
    Fault("publisher-kill", "an agent: SIGKILL, away", kill_publisher, start_publisher,
          touches=frozenset({"publisher"})),
    Fault("disk-full", "the aggregator's disk: full, then freed", fill_disks, free_disks, during=fill_disks,
          touches=frozenset({"disk"}), needs={"with_small_disk": True}),
    Fault("agents-disk-full", "the agents' disks full, and the aggregator away", leave_agents_alone, help_agents,
          touches=frozenset({"recorder", "publisher"}), needs=_SHIM),
    Fault("read-only", "the aggregator's disk: read-only, then writable", read_only, heal_disk,
          touches=frozenset({"disk"}), needs=_SHIM),
    Fault("slow-disk", "the aggregator's disk: 2 s for every write", slow_disk, heal_disk,
          touches=frozenset({"disk"}), needs=_SHIM),
    Fault("reader", "another program holds the files: open, locked, mapped", hold_files, release_files,
          touches=frozenset({"holder"})),
    Fault("two-recorders", "two aggregators at once, one of them SIGKILLed and away", kill_recorder, start_recorder,
          touches=frozenset({"recorder"}), needs={"recorders": 2}),
    Fault("power-cut", "power cut: all killed at one instant, unsynced data lost", cut_power, restore_power,
          touches=frozenset({"all"}), needs=_SHIM),
    Fault("power-cut-alone", "the same, after the aggregator has been away", kill_recorder, cut_power_for_a_moment,
          touches=frozenset({"all"}), needs=_SHIM),
]  # fmt: skip

FAULTS = {fault.name: fault for fault in _ALL}
