"""What processes and the machine use."""

import os
import subprocess
import sys
from pathlib import Path

from ocs.agents.host_manager.usage import UsageMeter


def test_memory_is_known_at_once_and_processor_time_from_the_second_look_on(tmp_path):
    meter = UsageMeter(tmp_path)
    first = meter.look([os.getpid()])[0][os.getpid()]
    sum(range(300_000))
    second = meter.look([os.getpid()])[0][os.getpid()]
    assert first.memory_bytes > 1_000_000
    assert first.cpu_percent is None
    assert second.cpu_percent >= 0


def test_what_a_process_has_started_counts_as_its_own(tmp_path):
    alone = UsageMeter(tmp_path).look([os.getpid()])[0][os.getpid()].memory_bytes
    with subprocess.Popen(
        [sys.executable, "-c", "print(len(bytes(50_000_000)), flush=True); input()"], stdin=-1, stdout=-1
    ) as child:
        child.stdout.readline()
        both = UsageMeter(tmp_path).look([os.getpid()])[0][os.getpid()].memory_bytes
        child.communicate(b"\n")
    assert both > alone + 4_000_000


def test_a_process_that_has_ended_is_left_out(tmp_path):
    assert UsageMeter(tmp_path).look([2**22 + 1])[0] == {}


def test_the_machine_is_looked_at_too_also_before_the_folder_is_made(tmp_path):
    host = UsageMeter(tmp_path / "not" / "yet").look([])[1].encoded("daq-1")
    assert host["name"] == "daq-1"
    assert host["memory_bytes"] > host["memory_used_bytes"] > 0
    assert host["disk_free_bytes"] > 0
    assert host["load"] >= 0


def test_a_file_is_no_folder_and_no_error():
    assert UsageMeter(Path(__file__)).look([])[1].disk_free_bytes > 0
