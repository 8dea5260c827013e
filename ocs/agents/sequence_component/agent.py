"""The sequence component agent: loads a sequence script, is a sequencer as long as it is loaded, and runs it."""

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.threads import blockingCallFromThread

from ocs import ocs_agent, site_config
from ocs.agents.sequence_component.conductor import Conductor
from ocs.agents.sequence_component.folders import ScriptFolders, default_folders
from ocs.agents.sequence_component.performing import ScriptRun, perform
from ocs.agents.sequence_component.report import last_word, run_data
from ocs.agents.sequence_component.stage import Loaded, OnChange, Stage
from ocs.agents.sequence_component.states import ENDS, RunState
from ocs.components.arguments import prefix_argument
from ocs.components.component import Component
from ocs.components.names import ComponentId, Prefix
from ocs.errors import OCSError, SequenceError

__all__ = ["SequenceComponent", "add_agent_args", "main"]

STOP_GRACE = 8.0
"""How long a sequence gets to do what is to be done at its end before the agent goes, in seconds; those who kill
components wait 10 s."""
_LONGEST_TITLE = 1000

Params = dict[str, Any] | None
Result = tuple[bool, str]
Session = ocs_agent.OpSession


class SequenceComponent:
    """The operations of a sequence component; what is loaded and run is on its `Stage`.

    Args:
        agent: the OCSAgent that this is the work of.
        prefix: the component's name.
        folders: where scripts are allowed.
    """

    def __init__(self, agent: Any, prefix: Prefix, folders: ScriptFolders) -> None:
        self.agent = agent
        self.prefix = prefix
        self.component = Component(agent, ComponentId(prefix, "SequenceComponent"), {"instanceId": agent.instance_id})
        self.stage = Stage(folders, prefix, announce=self._announce, withdraw=self._withdraw)
        agent.stop_grace = STOP_GRACE
        agent.register_process("sequencer", self.sequencer, self._stop_sequencer, stopper_blocking=False)
        agent.register_task("load_script", self.load_script)
        agent.register_task("unload_script", self.unload_script)
        agent.register_task("restart_script", self.restart_script)
        for request in (self.pause, self.resume, self.abort):
            agent.register_task(request.__name__, request, blocking=False)

    # Loading

    @ocs_agent.param("obs_mode", type=str, help="the observing mode: the sequencer's name")
    @ocs_agent.param("script", default=None, type=str, help="its name or path in the folders of scripts")
    @ocs_agent.param("subsystem", default=None, type=str, help="of the sequencer, if not the component's own")
    def load_script(self, session: Session, params: Params) -> Result:
        """load_script(obs_mode, script=None, subsystem=None)

        **Task** - Load a sequence script, and be the sequencer ``SUBSYSTEM.obs_mode`` from then on.

        Parameters:
            obs_mode (str): The observing mode.
            script (str): The script's name or path, in one of the folders for scripts. Default is
                ``{subsystem}/{obs_mode}.py``, then ``{obs_mode}.py``.
            subsystem (str): The sequencer's subsystem. Default is that of the component.

        Notes:
            ``session.data`` has what was loaded::

                >>> response.session["data"]
                {"sequencer": "ESW.darknight",
                 "script": "/site/sequences/darknight.py",
                 "description": "Observes a dark field.",
                 "steps": [{"title": "Cool down", "weight": 3.0}]}
        """
        given = params or {}
        return _done(
            session,
            lambda: self.stage.load(given["obs_mode"], given.get("script"), given.get("subsystem")),
            "Loaded {0.script.path} as sequencer {0.sequencer.prefix}.",
        )

    @ocs_agent.param("force", default=False, type=bool, help="abort a sequence that runs")
    def unload_script(self, session: Session, params: Params) -> Result:
        """unload_script(force=False)

        **Task** - Unload the script, and be no sequencer any more. It is no mistake if none is loaded.

        Parameters:
            force (bool): Abort a sequence that is running; without it a running one is a reason to refuse.
        """
        force = bool((params or {}).get("force"))
        return _done(session, lambda: self.stage.unload(force=force), "Unloaded {0.script.path}.")

    @ocs_agent.param("force", default=False, type=bool, help="abort a sequence that runs")
    def restart_script(self, session: Session, params: Params) -> Result:
        """restart_script(force=False)

        **Task** - Read the script anew, after a change of its file. Where it has a mistake by now, the old one stays.

        Parameters:
            force (bool): Abort a sequence that is running; without it a running one is a reason to refuse.
        """
        force = bool((params or {}).get("force"))
        return _done(session, lambda: self.stage.restart(force=force), "Read {0.script.path} anew.")

    # Running

    @ocs_agent.param("params", default={}, type=dict, help="what the script finds in run.params")
    @ocs_agent.param("first_step", default=None, help="title, or number from 1, of the step to begin with")
    def sequencer(self, session: Session, params: Params) -> Result:
        """sequencer(params={}, first_step=None)

        **Process** - Run the script that is loaded. Stopping it lets the step that runs come to its end; the task
        ``abort`` does not.

        Parameters:
            params (dict): What the script finds in ``run.params``. Default is nothing.
            first_step (str or int): Title, or number from 1, of the step to begin with. Default is the first.

        Notes:
            ``session.data`` shows how far the sequence has come; times are in unix s, progress is from 0 to 1. It is
            degraded while it waits for an agent that is away::

                >>> response.session["data"]
                {"sequencer": "ESW.darknight", "script": "/site/sequences/darknight.py",
                 "state": "running",        # or paused, closing, succeeded, failed, stopped, aborted
                 "asked": None,             # or pause, stop, abort: asked for, and not yet come to
                 "pause_before": None, "progress": 0.42, "current_step": 2, "message": "scan 3 of 8",
                 "waiting_for": None, "started": 1790000012.73, "ended": None, "last_error": None,
                 "steps": [{"title": "Cool down", "weight": 3.0, "state": "done", "progress": 1.0, "message": "",
                            "started": 1790000012.73, "ended": 1790000042.80}]}
        """
        given = params or {}

        try:
            loaded, conductor = self.stage.begin_run(
                given.get("first_step"), lambda loaded: _teller(session, loaded), time.time()
            )
        except SequenceError as error:
            return False, str(error)
        perform(loaded.script, conductor, self._run(session, loaded, conductor, given.get("params") or {}))
        return last_word(conductor.state)

    def _run(self, session: Session, loaded: Loaded, conductor: Conductor, params: Mapping[str, Any]) -> ScriptRun:
        return ScriptRun(
            conductor,
            self.agent,
            self.agent.agent_address.rpartition(".")[0],
            params=params,
            obs_mode=loaded.sequencer.prefix.name,
            log=session.add_message,
        )

    def _stop_sequencer(self, session: Session, params: Params) -> Result:
        """End the sequence after the step that runs; at once where the agent ends too."""
        if self.agent.operations.ending:
            return _asked(lambda: self.stage.running().abort(), "Aborting: the agent ends.")
        return _asked(lambda: self.stage.running().stop(), "Stopping after this step.")

    @ocs_agent.param("step", default=None, help="title, or number from 1, of the step to pause before")
    def pause(self, session: Session, params: Params) -> Result:
        """pause(step=None)

        **Task** - Have the running sequence pause, where its script asks next or before a step.

        Parameters:
            step (str or int): Title, or number from 1, of the step to pause before. Default is to pause as soon as the
                script asks: it does where it sleeps, calls an agent or reports progress, and between steps.
        """
        step = (params or {}).get("step")

        def ask() -> None:
            loaded = self.stage.loaded
            before = None if step is None or loaded is None else loaded.script.number_of(step)
            self.stage.running().pause(before)

        return _asked(ask, "Asked to pause." if step is None else f"Will pause before step {step!r:.80}.")

    @ocs_agent.param("_")
    def resume(self, session: Session, params: Params) -> Result:
        """resume()

        **Task** - Have the paused sequence go on.
        """
        return _asked(lambda: self.stage.running().resume(), "The sequence goes on.")

    @ocs_agent.param("_")
    def abort(self, session: Session, params: Params) -> Result:
        """abort()

        **Task** - End the running sequence where its script asks next; what it has declared with ``@at_end`` is done.
        A second abort ends that too.
        """
        return _asked(lambda: self.stage.running().abort(), "Asked to abort.")

    # Being a sequencer

    def _announce(self, sequencer: ComponentId, metadata: Mapping[str, Any]) -> None:
        blockingCallFromThread(self.agent.reactor, self.component.add, sequencer, metadata)

    def _withdraw(self, sequencer: ComponentId) -> None:
        blockingCallFromThread(self.agent.reactor, self.component.remove, sequencer)


def _teller(session: Session, loaded: Loaded) -> OnChange:
    """Return what keeps a session's data in step with a run."""
    about = {"sequencer": str(loaded.sequencer.prefix), "script": str(loaded.script.path)}
    told: list[Any] = [None, None]

    def tell(state: RunState, away: str | None) -> None:
        session.data = run_data(state, about, away)
        session.degraded = away is not None
        if away != told[0] and away is not None:
            session.add_message(f"Waiting: {away}")
        told[0] = away
        step = None if state.current is None else state.current
        if step != told[1] and step is not None and state.phase not in ENDS:
            session.add_message(f"Step {step + 1} of {len(state.steps)}: {state.steps[step].title:.{_LONGEST_TITLE}}")
        told[1] = step

    return tell


def _done(session: Session, work: Callable[[], Loaded | None], message: str) -> Result:
    try:
        loaded = work()
    except OCSError as error:
        return False, str(error)
    if loaded is None:
        return True, "No script was loaded."
    session.data = loaded.data
    return True, message.format(loaded)


def _asked(ask: Callable[[], None], message: str) -> Result:
    try:
        ask()
    except OCSError as error:
        return False, str(error)
    return True, message


def add_agent_args(parser_in: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser_in or argparse.ArgumentParser(description="Runs sequence scripts.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--prefix",
        type=prefix_argument,
        required=True,
        metavar="SUBSYSTEM.NAME",
        help="the component's name, as in ESW.primary",
    )
    group.add_argument(
        "--script-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="folder that scripts may be loaded from; can be given several times (default: $OCS_SCRIPT_DIR, the folder"
        " sequences beside the site config file, or in $OCS_CONFIG_DIR)",
    )
    group.add_argument("--obs-mode", metavar="MODE", help="load the script of this observing mode at once")
    group.add_argument("--script", metavar="NAME", help="with --obs-mode: this script (default: that of the mode)")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="SequenceComponent", parser=add_agent_args(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    folders = ScriptFolders(default_folders(parsed.script_dir, parsed.site_file, os.environ))
    SequenceComponent(agent, parsed.prefix, folders)
    if parsed.obs_mode:
        agent.startup_ops.append(("task", "load_script", {"obs_mode": parsed.obs_mode, "script": parsed.script}))
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
