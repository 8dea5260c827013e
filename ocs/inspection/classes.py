"""Agent classes: does an installed plugin have them, and what do their own parsers say of the arguments?"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ocs.agent_classes import AgentClass, installed_classes
from ocs.inspection.problems import Problem, error, note, warning
from ocs.scf.survey import Described, nearest

__all__ = ["check_arguments", "check_classes"]

PARSING_TIME = 60.0
"""How long all parsers together may take, in seconds: most of it is loading the agents' modules."""


def check_classes(
    instances: Iterable[Described], here: str | None, known: Mapping[str, AgentClass]
) -> Iterator[Problem]:
    """See whether the classes of instances are installed.

    Args:
        instances: of all hosts.
        here: the name of the host that this machine is; others, and containers, may have classes that it has not.
        known: what is installed.
    """
    for one in instances:
        name = one.instance.agent_class
        if name in known:
            continue
        near = nearest(name, known)
        hint = (
            f"did you mean {near}?" if near else f"install the package that has it; known: {', '.join(sorted(known))}"
        )
        keys = (*one.keys, "agent-class")
        if one.host.name == here and one.instance.manage.startswith("host"):
            yield error(f"no installed plugin has the agent class {name}; {hint}", keys)
        elif near and name.lower() == near.lower():
            yield warning(f"no plugin that is installed here has the agent class {name}; {hint}", keys)


def known_classes(complaints: list[str]) -> dict[str, AgentClass]:
    """Return the installed classes; what is wrong with plugins is added to ``complaints``."""
    return installed_classes(complaints.append)


def check_arguments(instances: Iterable[Described], known: Mapping[str, AgentClass]) -> Iterator[Problem]:
    """Have the agents' own parsers judge the arguments.

    Args:
        instances: those that this host runs.
        known: the installed classes.
    """
    asked = [one for one in instances if one.instance.agent_class in known]
    if not asked:
        return
    try:
        answers = _ask_parsers([(known[one.instance.agent_class].module, one.instance.arguments) for one in asked])
    except (OSError, subprocess.SubprocessError, ValueError) as problem:
        yield note(f"the arguments of agents were not looked at: {problem}")
        return
    for one, answer in zip(asked, answers, strict=False):
        if answer:
            message = f"{one.instance.instance_id}: {one.instance.agent_class} does not take these arguments: {answer}"
            yield error(message, (*one.keys, "arguments"))


def _ask_parsers(questions: Sequence[tuple[str, list[str]]]) -> list[str | None]:
    asked = json.dumps([{"module": module, "arguments": arguments} for module, arguments in questions])
    command = [sys.executable, "-m", "ocs.inspection.parsers"]
    run = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=PARSING_TIME, check=True)
    answers: list[str | None] = json.loads(run.stdout)
    return answers
