"""The proving agent as a process: starting it, and talking to it in short."""

from pathlib import Path
from typing import Any

from tests.harness.agents import AgentHandle

SCRIPT = Path(__file__).parent / "proving_agent.py"


def start_proving(
    run_agent: Any, site: Any, *arguments: str, instance: str = "prove-1", **keywords: Any
) -> AgentHandle:
    """Start the proving agent by the fixture `run_agent`."""
    site.add_instance("ProvingAgent", instance, [])
    return run_agent(instance, "--agent", str(SCRIPT), *arguments, site=site, **keywords)


def ops(agent: AgentHandle, *args: Any) -> Any:
    """Call the agent's `.ops`: code, message, session."""
    return agent.call(".ops", *args)


def run(agent: AgentHandle, task: str, params: Any = None, timeout: float = 20) -> dict[str, Any]:
    """Run a task to its end and return its session."""
    code, message, _ = ops(agent, "start", task, params)
    assert code == 0, message
    code, message, session = ops(agent, "wait", task, None, timeout)
    assert code == 0, message
    return session


def texts(session: dict[str, Any]) -> list[str]:
    """The texts of a session's messages."""
    return [text for _, text in session["messages"]]


def look(agent: AgentHandle) -> dict[str, Any]:
    """What there is in the agent's process: threads, delayed calls, sessions, callbacks, what it has heard, its pid."""
    return run(agent, "inspect")["data"]
