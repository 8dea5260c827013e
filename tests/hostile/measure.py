"""All attacks at the three kinds of site, and the table of what became of them.

``python -m tests.hostile.measure --markdown docs/user/attacks.md`` measures, and writes the table into the page.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.raw_wamp import ClosedError
from tests.hostile.sites import CLIENT, KINDS, AttackedSite

BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"
COLUMNS = {"closed": "closed site", "open": "open site", "published": "ocs 0.12.1"}

Results = dict[str, dict[str, str]]


def outcome(attack: Attack, site: AttackedSite, who: str) -> str:
    """Try an attack, and return ``refused`` or ``works``; whoever is not let in is refused."""
    try:
        return "works" if attack.run(site, who) else "refused"
    except (ClosedError, ConnectionError):
        return "refused"


def tried_by(attack: Attack, site: AttackedSite) -> Sequence[str]:
    """Return who tries it: at a site without keys everybody is the same."""
    return attack.attackers if site.closed else (CLIENT,)


def measure(kind: str, attacks: Iterable[Attack], say: Any = print) -> dict[str, str]:
    """Try attacks at one kind of site.

    Returns:
        Name to ``refused``, or ``works``; at a closed site with those who have done it.
    """
    found: dict[str, str] = {}
    left = list(attacks)
    while left:
        with tempfile.TemporaryDirectory() as folder, AttackedSite(kind, Path(folder)) as site:
            while left and (not found or site.is_well()):  # else with a site that is whole
                attack = left.pop(0)
                began = time.monotonic()
                worked = [who for who in tried_by(attack, site) if outcome(attack, site, who) == "works"]
                by = f" ({', '.join(worked)})" if worked and site.closed else ""
                found[attack.name] = f"works{by}" if worked else "refused"
                say(f"{kind:10} {attack.name:45} {found[attack.name]:30} {time.monotonic() - began:5.1f} s", flush=True)
    return found


def table(results: Results) -> str:
    """Return the table, in Markdown."""
    kinds = [kind for kind in KINDS if kind in results]
    lines = ["| | what the attacker does | by | " + " | ".join(COLUMNS[kind] for kind in kinds) + " |"]
    lines.append("|---|---|---|" + "---|" * len(kinds))
    for attack in ATTACKS:
        cells = [results[kind].get(attack.name, "") for kind in kinds]
        shown = [f"**{cell}**" if cell.startswith("works") else cell for cell in cells]
        words = [attack.group, attack.sentence, ", ".join(attack.attackers), *shown]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def summary(results: Results) -> str:
    """Return how many attacks are refused at each kind of site."""
    counts = {kind: sum(cell == "refused" for cell in cells.values()) for kind, cells in results.items()}
    said = [f"{COLUMNS[kind]}: {count} of {len(results[kind])}" for kind, count in counts.items()]
    return f"Refused: {'; '.join(said)}."


def write_into(page: Path, results: Results) -> None:
    """Put the table between its marks in a page."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{summary(results)}\n\n{table(results)}\n{END}{after}")


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", nargs="+", choices=KINDS, default=KINDS, help="which kinds (default: all)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="attacks whose names contain one of these")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table into this page")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    args = parser.parse_args()
    chosen = [one for one in ATTACKS if not args.only or any(word in one.name for word in args.only)]
    results = {kind: measure(kind, chosen) for kind in args.site}
    if args.markdown:
        write_into(args.markdown, results)
    print(json.dumps(results, indent=2) if args.json else summary(results))


if __name__ == "__main__":
    main()
