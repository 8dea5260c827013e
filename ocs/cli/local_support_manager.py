"""The HostManager of this host, for ``ocs-local-support``: agent and process started, stopped, looked at."""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ocs import site_config
from ocs.base import ResponseCode
from ocs.cli.hosts import Site
from ocs.cli.hosts_model import Answer, Condition, HostView, managers_of, site_view
from ocs.cli.local_processes import last_line, lock_owner, process_runs, systemd_unit, until
from ocs.cli.local_support_status import Status
from ocs.cli.output import say
from ocs.cli.parsing import given_site_options
from ocs.cli.readable import count, duration
from ocs.errors import ControlClientError, HostManagerError

__all__ = ["HostManager", "find_manager"]


@dataclass(frozen=True)
class Running:
    """A HostManager that answers.

    Attributes:
        pid: its process id, as it says; None where it does not.
        machine: the name of its machine, as it says.
    """

    pid: int | None
    machine: str

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.machine == socket.gethostname()

    def __str__(self) -> str:
        where = "" if self.here else f" on {self.machine}"
        return f"pid {self.pid}{where}" if self.pid else f"of another version{where}"


def find_manager(args: argparse.Namespace, words: Sequence[str]) -> "HostManager | None":
    """Return the HostManager that the site file has for this host, or None.

    Args:
        args: what ``site_config.parse_args`` returned for ``*host*``.
        words: the command line, whose site options the agent gets as well.

    Raises:
        OCSError: there is no site file, it has a mistake in it, or it has several HostManagers here.
    """
    host = site_config.get_config(args, site_config.HOST).host
    names = [name for name in managers_of(host) if args.instance_id in (None, name)] if host is not None else []
    if host is None or not names:
        return None
    if len(names) > 1:
        raise HostManagerError(f"{host.name} has several HostManagers: give --instance-id, one of {', '.join(names)}")
    return HostManager(args, words, names[0])


class HostManager:
    """The HostManager of this host.

    Args:
        args: the parsed command line.
        words: the command line as it was given.
        instance_id: the HostManager's.
    """

    def __init__(self, args: argparse.Namespace, words: Sequence[str], instance_id: str) -> None:
        self.instance_id = instance_id
        self._args = args
        self._words = words
        self._site = Site(args, privs=args.privs)
        self._folder = _state_folder(args, f"{args.address_root}.{instance_id}")

    # agent

    def running(self) -> Running | None:
        """Return the agent as it answers, or None where the router knows none.

        Raises:
            ControlClientError: there is no router, or no answer.
        """
        client = site_config.get_control_client(self.instance_id, args=self._args)
        client.timeout = self._site.timeout
        try:
            api = client.get_api()
        except ControlClientError as error:
            if error.name == "wamp.error.no_such_procedure":
                return None
            raise
        return Running(api.get("instance_pid"), str(api.get("instance_hostname") or "?"))

    def agent_status(self) -> Status:
        """Tell how the agent is."""
        try:
            found = self.running()
        except ControlClientError as error:
            pid = self.local_pid()
            known = f"a process (pid {pid}) runs, but " if pid else ""
            return Status("agent", "unknown", f"{self.instance_id}: {known}{error}")
        if found is not None:
            unit = systemd_unit(found.pid) if found.here and found.pid else None
            kept = f", kept by systemd as {unit}" if unit else ""
            return Status("agent", "running" if found.here else "elsewhere", f"{self.instance_id}, {found}{kept}")
        pid = self.local_pid()
        if pid:
            return Status("agent", "unknown", f"{self.instance_id} runs (pid {pid}), but the router does not know it")
        return Status("agent", "stopped", f"{self.instance_id} is not running: `ocs-local-support start agent`")

    def start_agent(self, *, foreground: bool, timeout: float) -> int:
        """Start the agent and wait until it answers; in the foreground, become it.

        Raises:
            OCSError: it cannot be started.
        """
        found = self.running()
        if found is not None:
            say(f"{self.instance_id} is running already ({found})")
            return 0
        pid = self.local_pid()
        if pid is not None:
            raise HostManagerError(
                f"{self.instance_id} runs already (pid {pid}), but the router at {self._args.site_http} does not know "
                "it: it is starting, or has another router in its command line"
            )
        if foreground:
            self._become()
        log = self._log_file()
        child = self._spawn(log)
        self._await_ready(child, log, timeout)
        child.returncode = 0  # disowned: it is no leak that this program ends first
        say(f"{self.instance_id} is running (pid {child.pid}); its output: {log}")
        return 0

    def _command(self) -> list[str]:
        given = given_site_options(self._words, without=("instance_id",))
        return [sys.executable, "-m", "ocs.agent_cli", "--instance-id", self.instance_id, *given]

    def _become(self) -> NoReturn:
        sys.stdout.flush()
        os.execv(sys.executable, self._command())  # noqa: S606 - our own argument list

    def _spawn(self, log: Path) -> "subprocess.Popen[bytes]":
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            if log.exists():
                log.replace(log.with_name(f"{log.name}.1"))
            with log.open("wb") as output:
                return subprocess.Popen(
                    self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        except OSError as error:
            raise HostManagerError(f"cannot write {log}: {error.strerror}") from error

    def _await_ready(self, child: "subprocess.Popen[bytes]", log: Path, timeout: float) -> None:
        def ready() -> bool:
            if child.poll() is not None:
                raise HostManagerError(f"{self.instance_id} did not start: {last_line(log)} (all it said: {log})")
            found = self.running()
            return found is not None and found.pid in (child.pid, None)

        if not until(ready, timeout):
            child.terminate()
            child.wait()
            raise HostManagerError(f"{self.instance_id} was not ready within {timeout:g} s: {last_line(log)} ({log})")

    def _log_file(self) -> Path:
        return (self._folder or Path(self._args.working_dir or ".")) / f"{self.instance_id}.out"

    def stop_agent(self, *, timeout: float, leave_running: bool = False) -> int:
        """Have the agent end what it keeps, and itself; where it cannot be asked, by a signal.

        Args:
            timeout: how long that may take, in s.
            leave_running: let what it keeps run on, for the next one to take over.

        Raises:
            OCSError: it does not end, or would be started again.
        """
        found = self._reachable()
        pid = found.pid if found is not None and found.here else self.local_pid()
        if found is None and pid is None:
            say(f"{self.instance_id} is not running")
            return 0
        if leave_running:
            self._leave_running(timeout)
        else:
            self._end(found, pid, timeout)
        if not until(lambda: not self._is_there(pid), timeout):
            which = f"pid {pid}" if pid else "elsewhere"
            raise HostManagerError(f"{self.instance_id} ({which}) has not ended within {timeout:g} s")
        say(f"{self.instance_id} has ended, and {'what it kept runs on' if leave_running else 'with it what it kept'}")
        return 0

    def _reachable(self) -> Running | None:
        """Return the agent as it answers; None also where there is no router, but a process here."""
        try:
            return self.running()
        except ControlClientError as error:
            if self.local_pid() is None:
                raise
            say(f"it cannot be asked: {error}")
            return None

    def _end(self, found: Running | None, pid: int | None, timeout: float) -> None:
        unit = systemd_unit(pid) if pid else None
        if unit:
            raise HostManagerError(
                f"{self.instance_id} is kept by systemd, which would start it again: `systemctl stop {unit}`"
            )
        if found is not None:
            self._die(timeout)
        elif pid is not None:
            os.kill(pid, signal.SIGTERM)

    def _leave_running(self, timeout: float) -> None:
        die = self._site.client(self.instance_id).die
        if not any(entry.get("name") == "leave_running" for entry in die.params or ()):
            raise HostManagerError(f"{self.instance_id} is of a version that cannot leave its agents running")
        self._die(timeout, leave_running=True)

    def _is_there(self, pid: int | None) -> bool:
        if pid is not None and process_runs(pid):
            return True
        try:
            return pid is None and self.running() is not None
        except ControlClientError:
            return False

    def local_pid(self) -> int | None:
        """Return the process that keeps this host's instances here, by the lock of its folder; None without one."""
        return lock_owner(self._folder / "lock") if self._folder is not None else None

    # process

    def process_status(self) -> Status:
        """Tell how the agent's process ``manager`` is."""
        answer = self._site.ask(self.instance_id)
        if answer.condition is Condition.RUNNING:
            return Status("process", "running", _instances(self._view(answer)))
        if answer.condition is Condition.STOPPED:
            return Status("process", "stopped", f"{answer.message}: `ocs-local-support start process`")
        if answer.condition is Condition.AWAY:
            return Status("process", "stopped", "there is no agent that could run it")
        return Status("process", "unknown", answer.message)

    def _view(self, answer: Answer) -> HostView:
        views = site_view(self._site.config, {answer.instance_id: answer})
        return next(view for view in views if view.answers)

    def start_process(self, *, timeout: float) -> int:
        """Start the process ``manager`` of a running agent.

        Raises:
            OCSError: it cannot be started.
        """
        if self._condition() is Condition.RUNNING:
            say("the manager process is running already")
            return 0
        self._request("start")
        if not until(lambda: self._condition() is Condition.RUNNING, timeout):
            raise HostManagerError(
                f"the manager process of {self.instance_id} does not run {timeout:g} s after its start"
            )
        say("the manager process is running")
        return 0

    def stop_process(self, *, timeout: float) -> int:
        """Stop the process ``manager``, and so everything that it keeps; the agent stays.

        Raises:
            OCSError: it cannot be stopped.
        """
        condition = self._condition()
        if condition in (Condition.STOPPED, Condition.AWAY):
            say("the manager process is not running")
            return 0
        self._request("stop")
        if not until(lambda: self._condition() is Condition.STOPPED, timeout):
            raise HostManagerError(f"the manager process of {self.instance_id} has not ended within {timeout:g} s")
        say("the manager process has ended, and with it what it kept")
        return 0

    def _condition(self) -> Condition:
        """Return how the process is.

        Raises:
            HostManagerError: it cannot be asked.
        """
        answer = self._site.ask(self.instance_id)
        if answer.condition in (Condition.RUNNING, Condition.STOPPED, Condition.AWAY):
            return answer.condition
        raise HostManagerError(answer.message)

    def _request(self, action: str) -> None:
        client = self._site.client(self.instance_id)
        reply = getattr(client.manager, action)()
        if reply.status != ResponseCode.OK:
            raise HostManagerError(f"{self.instance_id} refuses to {action} its manager process: {reply.msg}")

    def _die(self, timeout: float, **params: Any) -> None:
        """Start the agent's task ``die``, whose end may be that of the agent itself."""
        die = self._site.client(self.instance_id).die
        reply = die.start(**params)
        if reply.status != ResponseCode.OK:
            raise HostManagerError(f"{self.instance_id} refuses to end: {reply.msg}")
        with contextlib.suppress(ControlClientError):  # it may go before it can answer
            die.wait(timeout=timeout)


def _state_folder(args: argparse.Namespace, address: str) -> Path | None:
    from ocs.core.keeping import state_folder  # noqa: PLC0415 - loads Twisted, which not every command needs

    return state_folder(args, args.site_realm, address)


def _instances(view: HostView) -> str:
    kept = [row for row in view.rows if row.managed]
    astray = [row.instance_id for row in kept if not row.as_targeted]
    text = count(len(kept), "instance")
    text += f", not as they should be: {', '.join(astray)}" if astray else ", all as they should be"
    started = view.answers[0].data.get("started")
    since = f"; for {duration(time.time() - started)}" if isinstance(started, int | float) else ""
    return text + since
