"""The body of `ocs up`: prepares the data folder, ties together the run, the view, the signals and the end."""

import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from ocs.cli.up_views import Printer, View, make_view
from ocs.errors import OCSError
from ocs.keys.finding import CLIENT, key_path
from ocs.router.process import prepare
from ocs.up.closed import KeysNeeded
from ocs.up.folder import DataFolder, shown_path
from ocs.up.manager import end_left_processes
from ocs.up.plan import Options, SitePlan, make_plan, read_site, router_config, write_site_file
from ocs.up.run import SiteRun
from ocs.up.source import SourceWatch

__all__ = ["run_site"]


def run_site(
    options: Options, data_dir: Path, *, duration: float | None = None, interval: float = 10.0, as_json: bool = False
) -> int:
    """Run a site until Ctrl-C, or for a time.

    Args:
        options: which site, and where its router is.
        data_dir: the data folder.
        duration: end by itself after so long, in seconds; None: never.
        interval: time between summaries where no table is shown, in seconds.
        as_json: tell everything in JSON lines.

    Returns:
        0.

    Raises:
        OCSError: it could not be run; nothing is left running.
        BrokenPipeError: nobody reads the output any more.
    """
    read_site(options)  # a mistake in the site file leaves no folder behind
    folder = DataFolder(data_dir)
    folder.open()
    try:
        notes, plan = _prepare(options, folder)
        _log_to(folder.logs / "up.log")
        printer = Printer()
        view = make_view(printer, as_json=as_json, interval=interval)
        program = _Program(_steady_reactor(), plan, folder, view)
        printer.on_broken = program.reader_has_gone
        view.start(_facts(plan, folder), [*notes, *_left_out(plan), *_hints(plan, folder)])
        return program.run(duration)
    finally:
        folder.close()


def _prepare(options: Options, folder: DataFolder) -> tuple[list[str], SitePlan]:
    ended = end_left_processes(folder)
    plan = make_plan(options, folder)
    write_site_file(plan, folder)
    made = plan.keys.settle(plan.site_file) if plan.keys else []
    config = router_config(plan)
    if config:
        prepare(config, folder.router)
    notes = [f"ended what an earlier run has left behind: {', '.join(ended)}"] if ended else []
    return [*notes, *plan.notes, *made], plan


class _Program:
    """One run with a view of it, from the start of the reactor to its end."""

    def __init__(self, reactor: Any, plan: SitePlan, folder: DataFolder, view: View) -> None:
        self._reactor = reactor
        self._view = view
        self._site_run = SiteRun(reactor, plan, folder, on_change=self._look, on_failure=self._fail)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._watching = SourceWatch(reactor, plan, folder, self._site_file_changed)
        self._reload = f"{_program('ocsbow')} status --reload-config --site-file {shown_path(plan.site_file)}"
        self._error: BaseException | None = None
        self._stopping = False

    def run(self, duration: float | None) -> int:
        """Run until everything has ended, after ``duration`` seconds if it is given."""
        self._reactor.callWhenRunning(self._begin, duration)
        self._reactor.run()
        if self._error is not None:
            raise self._error
        return 0

    def reader_has_gone(self) -> None:
        """End because nobody reads the output; called in any thread."""
        self._reactor.callFromThread(self._fail, BrokenPipeError())

    def _begin(self, duration: float | None) -> None:
        self._catch_signals()
        self._site_run.start()
        self._looking.start(self._view.interval)
        self._watching.start()
        if duration is not None:
            self._reactor.callLater(duration, self._stop)

    def _look(self) -> None:
        rows = self._site_run.rows()
        self._view.look(rows, self._site_run.summary(rows))

    def _site_file_changed(self, error: OCSError | None) -> None:
        told = (
            f"{error}; all goes on as it was" if error else f"the site file has changed; to follow it: {self._reload}"
        )
        self._view.note(told)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._stop()

    def _asked_to_stop(self) -> None:
        if self._stopping:
            self._view.note("ending with less patience")
            self._site_run.hurry()
        else:
            self._view.note("ending; once more to hurry")
            self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            ensureDeferred(self._site_run.stop()).addBoth(self._ended)

    def _ended(self, result: Any) -> None:
        if isinstance(result, Failure):
            self._error = self._error or result.value
        self._watching.stop()
        if self._looking.running:
            self._looking.stop()
        self._look()
        self._view.close()
        self._reactor.stop()

    def _catch_signals(self) -> None:
        def ask(*_: object) -> None:
            self._reactor.callFromThread(self._asked_to_stop)

        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A program started by nohup goes on when the terminal is closed.
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, ask)


def _steady_reactor() -> Any:
    """Return the reactor with timers that do not stand still when the time of day is set back."""
    reactor: Any = global_reactor
    reactor.seconds = time.monotonic
    return reactor


def _log_to(path: Path) -> None:
    """Keep what libraries have to say out of the picture, in a file that rotates."""
    file: Any = LogFile(path.name, str(path.parent), rotateLength=1_000_000, maxRotatedFiles=2)
    log_filter: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    writer: Any = textFileLogObserver(file)
    observer: Any = FilteringLogObserver(writer, [log_filter])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _facts(plan: SitePlan, folder: DataFolder) -> dict[str, Any]:
    return {
        "title": plan.title,
        "host": plan.host,
        "wamp_server": plan.hub.wamp_server,
        "wamp_http": plan.hub.wamp_http,
        "site_file": str(plan.site_file),
        "data_dir": str(folder.root),
        "manager": plan.manager,
        "instances": [instance.instance_id for instance in plan.instances],
        "left_out": {item.instance_id: item.why for item in plan.left_out},
        "closed": plan.keys is not None,
        **(_keys_facts(plan.keys) if plan.keys else {}),
    }


def _keys_facts(keys: KeysNeeded) -> dict[str, str]:
    return {"keys": str(keys.folder), "client_key": str(key_path(keys.folder, CLIENT))}


def _left_out(plan: SitePlan) -> list[str]:
    return [f"{item.instance_id} is not started: {item.why}" for item in plan.left_out]


def _hints(plan: SitePlan, folder: DataFolder) -> list[str]:
    site = shown_path(plan.site_file)
    hints = [
        f"running {plan.title} on {plan.host}; what agents print goes to {shown_path(folder.logs)}",
        *(_keys_hints(plan.keys, plan.hub.wamp_server) if plan.keys else ()),
        "from another terminal:",
        f"  {_program('ocs')} status --site-file {site}",
        f"  {_program('ocs-client-cli')} scan --site-file {site}",
    ]
    if plan.instances:
        hints.append(f"  {_program('ocs-client-cli')} shell {plan.instances[-1].instance_id} --site-file {site}")
    if plan.records_to:
        hints.append(f"  {_program('checkdata')} {shown_path(plan.records_to)}")
    return [*hints, ""]


def _keys_hints(keys: KeysNeeded, router: str) -> list[str]:
    """Tell who may connect; the programs below find their key by the site file."""
    return [
        f"this site is closed: {router} admits those with a key; yours is {shown_path(key_path(keys.folder, CLIENT))}",
        f"programs without the site file need:  export OCS_KEYS={shlex.quote(str(keys.folder))}",
    ]


def _program(name: str) -> str:
    """Return a program of ours as one would type it: with its folder where the name alone means none, or another."""
    beside, found = Path(sys.executable).with_name(name), shutil.which(name)
    ours = found is not None and Path(found).resolve() == beside.resolve()
    return name if ours or not beside.exists() else shown_path(beside)
