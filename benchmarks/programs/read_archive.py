"""Reads an archive, by ``ocs.hk`` or by so3g's own reader: ``read_archive.py {ours,so3g} FOLDER FIELD START STOP``.

FIELD ``all`` stands for every field, and ``-`` for no limit of the span. Prints what it took, from the call on, with
the libraries loaded before, and a checksum of what was read.
"""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path


def ours():
    """Our reader."""
    from ocs.hk import load  # noqa: PLC0415 - only one of the two is there, and only one is measured

    return lambda folder, field, start, stop: dict(load(folder, field or "*", start, stop))


def so3g():
    """The library's own."""
    from so3g.hk import HKArchiveScanner  # noqa: PLC0415 - the same

    def read(folder, field, start, stop):
        scanner = HKArchiveScanner()
        for path in sorted(Path(folder).rglob("*.g3")):
            scanner.process_file(str(path))
        archive = scanner.finalize()
        names = [field] if field else sorted(archive.get_fields()[0])
        return dict(zip(names, archive.simple(names, start, stop, short_match=False), strict=True))

    return read


def checksum(data):
    """Tell whether two have read the same: names, times, values, and their types."""
    known = hashlib.blake2b()
    for name in sorted(data):
        for array in data[name]:
            known.update(f"{name} {array.dtype} {array.shape}".encode())
            known.update(array)
    return known.hexdigest()


def main(reader, folder, field, start, stop):
    read = {"ours": ours, "so3g": so3g}[reader]()
    limits = [None if moment == "-" else float(moment) for moment in (start, stop)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    data = read(folder, None if field == "all" else field, *limits)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    samples = sum(len(values) for _, values in data.values())
    size = sum(values.nbytes for _, values in data.values())
    told = {"wall": wall, "cpu": cpu, "peak": peak / 1024, "before": before / 1024, "samples": samples}
    print("@" + json.dumps({**told, "mib": size / 2**20, "checksum": checksum(data)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
