#!/usr/bin/env python3
"""Writes a base image, made of this machine's own Python, as a tar: for where no image can be pulled.

    docker/local_base.py | docker import --change 'CMD ["python3"]' - ocs-base:local

It holds the interpreter that runs this script with its standard library, the shared libraries that it and wheels for
it need, and the few programs that the Dockerfile uses: what python:3.11-slim-bookworm has, as far as ocs needs it.
"""

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PROGRAMS = ("sh", "cat", "chmod", "chown", "cp", "env", "find", "grep", "ls", "mkdir", "mv", "rm", "sleep", "tail")
WHEELS_NEED = (
    *("libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libnss_dns.so.2", "libnss_files.so.2", "libpthread.so.0"),
    *("libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1", "libz.so.1"),
)
"""What a manylinux wheel may take from the system."""

LEFT_OUT = frozenset(
    {"__pycache__", "idlelib", "lib2to3", "site-packages", "dist-packages", "test", "tests", "tkinter"}
)
FOLDERS = {"tmp": 0o1777, "root": 0o700, "var/tmp": 0o1777, "run": 0o755, "etc": 0o755, "proc": 0o755, "sys": 0o755}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
LINKS = {"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib"}  # as any Debian of today


def main() -> int:
    """Write the tar to standard output."""
    if sys.stdout.isatty():
        print(f"usage: {sys.argv[0]} | docker import - ocs-base:local", file=sys.stderr)
        return 2
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", dereference=True) as tar:
        for name, mode in FOLDERS.items():
            _add_folder(tar, name, mode)
        for name, text in FILES.items():
            _add_text(tar, name, text)
        for name, target in LINKS.items():
            _add_link(tar, name, target)
        _add_python(tar)
    return 0


def _add_python(tar: tarfile.TarFile) -> None:
    home = "usr" if sys.base_prefix == "/usr" else "usr/local"  # the interpreter finds its library beside itself
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = Path(sys.base_prefix, "bin", name)
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
    programs = {found for program in PROGRAMS if (found := shutil.which(program, path="/usr/bin:/bin"))}

    tar.add(interpreter, f"{home}/bin/{name}", filter=_as_root)
    for alias in ("python3", "python"):
        _add_link(tar, f"{home}/bin/{alias}", name)
    tar.add(library, f"{home}/lib/{name}", filter=_without_ballast)
    for wheels in Path("/usr/share/python-wheels").glob("*.whl"):  # where Debian keeps what ensurepip installs
        tar.add(wheels, f"usr/share/python-wheels/{wheels.name}", filter=_as_root)
    for program in sorted(programs):
        tar.add(program, f"usr/bin/{Path(program).name}", filter=_as_root)
    binaries = [interpreter, *library.glob("lib-dynload/*.so"), *map(Path, programs), *_known(WHEELS_NEED)]
    for shared in _closure(binaries):
        # The loader is named by its path in every program; all others are found in /usr/lib by their name.
        place = str(shared).lstrip("/") if shared.name.startswith("ld-") else f"usr/lib/{shared.name}"
        tar.add(shared, place, filter=_as_root)


def _closure(binaries: Iterable[Path]) -> list[Path]:
    """Return the shared libraries that binaries need, by the names under which they are looked for."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    found = {Path(path).name: Path(path) for path in re.findall(r"(/\S+\.so\S*) \(0x", listed)}
    found |= {path.name: path for path in _known(WHEELS_NEED)}
    return [found[name] for name in sorted(found)]


def _known(names: Iterable[str]) -> Iterator[Path]:
    """Find libraries by name, those of the 64-bit kind; what this C library has no more is left out."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in names:
        found = re.search(rf"^\s+{re.escape(name)} \(.*64.*\) => (\S+)$", listed, re.MULTILINE)
        if found:
            yield Path(found[1])


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _without_ballast(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    ballast = name in LEFT_OUT or name.startswith("config-") or name.endswith(".a")
    return None if ballast else _as_root(member)


def _add_folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text), 0o644
    tar.addfile(member, io.BytesIO(text.encode()))


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)


if __name__ == "__main__":
    sys.exit(main())
