"""Asks the database of security advisories (OSV) about every package of an environment: one request for all.

Ends with 1 if an advisory is known that accepted-advisories.toml does not list, or lists no longer. A database that
cannot be reached is told, and is no failure.
"""

import argparse
import json
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

DATABASE = "https://api.osv.dev"
ACCEPTED = Path(__file__).with_name("accepted-advisories.toml")
KNOWN_BAD = ("jinja2", "2.4.1")
"""A package with advisories: a database, or what stands for it, that has none for this knows nothing."""
TIMEOUT = 30.0
"""In seconds, for each request."""


class UnreachableError(Exception):
    """The database does not answer, or not as it should."""


@dataclass(frozen=True)
class Advisory:
    """What is known about an installed package."""

    package: str
    version: str
    names: tuple[str, ...]
    summary: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {', '.join(self.names)}: {self.summary}"


@dataclass(frozen=True)
class Accepted:
    """An advisory that is lived with until a day, for a reason."""

    id: str
    package: str
    reason: str
    until: date

    def covers(self, advisory: Advisory) -> bool:
        """Tell whether it is this advisory that is accepted."""
        return self.id in advisory.names and self.package == advisory.package


def installed() -> list[tuple[str, str]]:
    """Return name and version of what is installed where this runs, other than ocs itself."""
    found = {(each.metadata["Name"].lower().replace("_", "-"), each.version) for each in metadata.distributions()}
    return sorted(pair for pair in found if pair[0] != "ocs")


def read_accepted(path: Path) -> list[Accepted]:
    """Read the list of what is accepted; each entry has id, package, reason and until (a date)."""
    return [Accepted(**entry) for entry in tomllib.loads(path.read_text()).get("accepted", [])]


def find(packages: Sequence[tuple[str, str]], database: str = DATABASE) -> list[Advisory]:
    """Return the advisories of some packages.

    Raises:
        UnreachableError: the database cannot be asked.
    """
    asked = [KNOWN_BAD, *packages]
    results = list(_known(asked, database))
    if not results[0]:
        raise UnreachableError(f"it knows nothing of {' '.join(KNOWN_BAD)}, which has advisories")
    return [
        advisory
        for (package, version), ids in zip(packages, results[1:], strict=True)
        for advisory in _described(package, version, ids, database)
    ]


def _known(packages: Sequence[tuple[str, str]], database: str) -> Iterator[list[str]]:
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in packages]
    results = _ask(f"{database}/v1/querybatch", {"queries": queries}).get("results")
    if not isinstance(results, list) or len(results) != len(queries):
        raise UnreachableError("its answer has not one result for each package")
    for result in results:
        yield [vulnerability["id"] for vulnerability in (result or {}).get("vulns", [])]


def _described(package: str, version: str, ids: Iterable[str], database: str) -> Iterator[Advisory]:
    """Give the advisories behind some ids: those that are the same by another name once, the withdrawn never."""
    seen: set[str] = set()
    for one in ids:
        about = _ask(f"{database}/v1/vulns/{one}")
        names = (one, *(alias for alias in about.get("aliases", []) if alias != one))
        if not about.get("withdrawn") and seen.isdisjoint(names):
            yield Advisory(package, version, names, about.get("summary") or about.get("details", "")[:100])
        seen.update(names)


def _ask(url: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - ours, or who runs this
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
            found = json.load(answer)
    except (OSError, ValueError) as error:
        raise UnreachableError(str(error)) from error
    if not isinstance(found, dict):
        raise UnreachableError("its answer is no JSON object")
    return found


def judge(found: Iterable[Advisory], accepted: Sequence[Accepted], today: date) -> tuple[list[str], list[str]]:
    """Return what must be mended, and what need not stand in the list any more."""
    found = list(found)
    valid = [entry for entry in accepted if today <= entry.until]
    bad = [str(one) for one in found if not any(entry.covers(one) for entry in valid)]
    idle = [f"{one.id} of {one.package}" for one in accepted if not any(one.covers(each) for each in found)]
    return bad, idle


def main(words: Sequence[str] | None = None) -> int:
    """Look, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--database", default=DATABASE, help=f"another one that answers as {DATABASE}")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help=f"the list (default: {ACCEPTED.name})")
    args = parser.parse_args(words)
    accepted = read_accepted(args.accepted)
    packages = installed()
    try:
        found = find(packages, args.database)
    except UnreachableError as error:
        print(f"dependencies: NOT looked at: {args.database} cannot be asked: {error}")
        return 0
    bad, idle = judge(found, accepted, datetime.now(UTC).date())
    for line in bad:
        print(f"dependencies: {line}")
    for line in idle:
        print(f"dependencies: {line} is no longer known; take it out of {args.accepted.name}")
    print(f"dependencies: {len(packages)} packages, {len(found)} advisories, {len(bad)} not accepted")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
