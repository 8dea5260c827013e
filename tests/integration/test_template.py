"""An agent that has been forked by the template is like one that has been started plainly, whatever one looks at."""

import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from ocs.supervisor import Phase
from tests.harness.agents import bridge_call
from tests.harness.forked import starting

IT = ("--instance-id", "it")


@pytest.fixture
def starter(tmp_path):
    yield from starting(tmp_path)


OF_THE_SHELL = ("PWD", "OLDPWD", "SHLVL", "_")
"""Variables that the shell sets, at whose gate plain starts wait."""

LOOKS = {
    "arguments": "look = lambda: [sys.argv, sys.orig_argv]",
    "folder and search": "look = lambda: [os.getcwd(), sys.path]",
    "environment": f"look = lambda: {{k: v for k, v in os.environ.items() if k not in {OF_THE_SHELL}}}",
    "environment of children": f"""
        import subprocess
        def look():
            lines = subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()
            return sorted(line for line in lines if line.partition("=")[0] not in {OF_THE_SHELL})
    """,
    "open files": """
        def look():
            fds = sorted(map(int, os.listdir("/proc/self/fd")))
            # The last is the listing's own.
            return fds[:-1], [os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in fds[:1]]
    """,
    "kinds of files": "look = lambda: [os.stat(fd).st_mode & 0o170000 for fd in (0, 1, 2)]",
    "inheritance of files": "look = lambda: [os.get_inheritable(fd) for fd in (0, 1, 2)]",
    "streams": """
        look = lambda: [
            [type(s.buffer).__name__, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines, s.name]
            for s in (sys.stdin, sys.stdout, sys.stderr)
        ]
    """,
    "signals": """
        def look():
            status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
            # Without the two that the C library keeps for itself.
            return [int(status[kind], 16) & 0x7fffffff for kind in ("SigPnd", "SigBlk", "SigIgn", "SigCgt")]
    """,
    "signal handlers": """
        import signal
        look = lambda: [str(signal.getsignal(n)).partition(" at ")[0] for n in range(1, 32)]
    """,
    "session": "look = lambda: [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getppid()]",
    "mask for files": "look = lambda: os.umask(0o22)",
    "limits": "import resource as r\nlook = lambda: [r.getrlimit(n) for n in range(16)]",
    "priority": """
        look = lambda: [os.getpriority(os.PRIO_PROCESS, 0), open("/proc/self/oom_score_adj").read(),
                        sorted(os.sched_getaffinity(0)), open("/proc/self/cgroup").read()]
    """,
    "title": "look = lambda: [open('/proc/self/cmdline').read().strip('\\0 '), open('/proc/self/comm').read()]",
    "the main module": """
        def look():
            import __main__ as m
            kinds = {name: type(value).__name__ for name, value in vars(m).items()}
            return [kinds, m.__file__, m.__spec__.name, m.__name__, m.__package__, str(m.__loader__)[:20]]
    """,
    "interpreter": """
        import faulthandler, gc, locale, threading, warnings
        look = lambda: [str(sys.flags), sys._xoptions, sys.warnoptions, str(warnings.filters), gc.isenabled(),
            gc.get_threshold(), sys.getrecursionlimit(), faulthandler.is_enabled(), locale.setlocale(locale.LC_ALL),
            sys.getfilesystemencoding(), threading.active_count(), sys.executable, sys.prefix, sys.excepthook.__name__,
            threading.main_thread().native_id == threading.get_native_id() == os.getpid()]
    """,
    "reactor": "look = lambda: 'twisted.internet.reactor' in sys.modules",
    "logging": "import logging\nlook = lambda: [str(logging.getLogger().handlers), logging.getLogger().level]",
    "processes of its own": """
        import multiprocessing
        look = lambda: [multiprocessing.current_process().name, multiprocessing.parent_process() is None]
    """,
}


@pytest.mark.parametrize("what", LOOKS)
@pytest_twisted.ensureDeferred
async def test_a_forked_agent_sees_what_a_plain_one_sees(starter, what):
    plain, forked = await starter.seen(LOOKS[what], "--further", "words", "of the agent")
    assert not isinstance(plain, str), plain
    assert forked == plain


@pytest_twisted.ensureDeferred
async def test_it_has_the_environment_and_the_folder_that_it_is_given(starter, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    await starter.run("--agent", starter.script("def main(args): pass"), *IT, forked=True)
    env = {name: value for name, value in starter.env(NEW="ünd\udcff", TZ="Asia/Tokyo").items() if name != "HOME"}
    look = """
        import time
        def look():
            time.localtime()
            return [os.getcwd(), sys.path[0], os.getenv("NEW"), time.tzname, os.getenv("HOME")]
    """
    plain, forked = await starter.seen(look, env=env, cwd=tmp_path / "elsewhere")
    assert plain == forked
    assert (forked[0], forked[3][0]) == (str(tmp_path / "elsewhere"), "JST")
    assert forked[2] == env["NEW"]


ENDS = {
    "returns": "def main(args): pass",
    "returns a code": "def main(args): return 3",
    "exits": "import sys\ndef main(args): sys.exit(5)",
    "exits with a text": "import sys\ndef main(args): sys.exit('no more of this')",
    "exits at once": "import os\ndef main(args): os._exit(9)",
    "raises": "def main(args): return {}['key']",
    "raises one from another": """
        def main(args):
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise RuntimeError("worse") from error
    """,
    "cannot be imported": "import nothing_of_that_name",
    "has a mistake in it": "def main(args) pass",
    "has no main": "mein = 1",
    "raises what the system's own interrupt is": "def main(args): raise GeneratorExit('no')",
    "is killed": "import os\ndef main(args): os.kill(os.getpid(), 9)",
    "is terminated": "import os\ndef main(args): os.kill(os.getpid(), 15)",
    "is interrupted": "import os, signal\ndef main(args): os.kill(os.getpid(), signal.SIGINT)",
    "crashes": "import os, signal\ndef main(args): os.kill(os.getpid(), signal.SIGSEGV)",
    "prints binary": "import sys\ndef main(args): sys.stdout.buffer.write(bytes(range(256)) * 3)",
    "prints on both": """
        import sys, os
        def main(args):
            print("first"); sys.stderr.write("second\\n"); os.write(1, b"third\\n"); print("fourth", end="")
    """,
    "has something to do at the end": """
        import atexit, threading, time, sys
        def main(args):
            atexit.register(print, "at exit")
            threading.Thread(target=lambda: (time.sleep(0.2), print("thread done"))).start()
            sys.exit(4)
    """,
    "leaves a file open": """
        import os
        kept = open("kept", "w")
        class Last:
            def __del__(self): os.write(1, b"last words\\n")
        last = Last()
        def main(args): kept.write("kept " * 10)
    """,
    "has its own way to tell of errors": """
        import sys
        def main(args):
            sys.excepthook = lambda kind, error, trace: print("hooked", kind, error, trace.tb_lineno)
            raise OSError("hard")
    """,
    "starts programs": """
        import subprocess, sys
        def main(args):
            code = "import os, sys; print(os.getcwd(), sys.argv, len(os.listdir('/proc/self/fd'))); sys.exit(6)"
            return subprocess.run([sys.executable, "-c", code, "x"], close_fds=False).returncode
    """,
    "has processes": """
        import multiprocessing
        def main(args):
            for way in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(way).Pool(2) as pool:
                    print(way, pool.map(abs, [-1, -2]))
    """,
    "pickles": """
        import pickle, sys, __main__
        def main(args):
            print(pickle.loads(pickle.dumps(__main__.main)) is __main__.main, pickle.dumps(main))
    """,
    "dumps its stack": "import faulthandler\ndef main(args): faulthandler.dump_traceback(all_threads=False)",
    "reads": "import sys\ndef main(args): print(repr(sys.stdin.read()))",
    "has a reactor": """
        def main(args):
            from twisted.internet import reactor, threads
            reactor.callWhenRunning(lambda: threads.deferToThread(lambda: 5).addCallback(print).addBoth(
                lambda _: reactor.stop()))
            reactor.run()
            print(type(reactor).__name__)
    """,
    "warns": "import warnings\ndef main(args): warnings.warn('old', DeprecationWarning); warnings.warn('bad')",
}


@pytest.mark.parametrize("how", ENDS)
@pytest_twisted.ensureDeferred
async def test_a_forked_agent_ends_as_a_plain_one_does(starter, how):
    path = starter.script(ENDS[how], "the_agent.py")
    plain, forked = await starter.both("--agent", path, *IT)
    if how == "dumps its stack":
        # Below the agent there is also what has forked it.
        assert forked.output.startswith(plain.output.rpartition(b"  File")[0])
    else:
        assert forked == plain
    if how == "leaves a file open":
        assert (starter.folder / "kept").read_text() == "kept " * 10


USAGES = {
    "no class": ("--instance-id", "lost"),
    "an unknown class": ("--instance-id", "unknown"),
    "no instance": (),
    "help": ("--help",),
    "an agent's help": ("--agent-help", "FakeDataAgent"),
    "all agents": ("--list-agents",),
    "a wrong option": ("--instance-id", "it", "--no-such-option"),
    "no script": ("--agent", "nothing.py"),
}


@pytest.mark.parametrize("usage", USAGES)
@pytest_twisted.ensureDeferred
async def test_the_command_line_is_understood_alike(starter, site, usage):
    site.add_instance("NoSuchAgent", "unknown").add_instance("FakeDataAgent", "it")
    plain, forked = await starter.both(*USAGES[usage], *site.args)
    assert forked == plain
    assert plain.output


@pytest_twisted.ensureDeferred
async def test_an_agent_of_another_package_is_found(starter, site, tmp_path):
    package, info = tmp_path / "lib" / "other_agents", tmp_path / "lib" / "other_agents-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(
        "package_name = 'other'\nagents = {'OtherAgent': {'module': 'other_agents.agent', 'entry_point': 'main'}}\n"
    )
    (package / "agent.py").write_text(
        "import sys\ndef main(args):\n    print(args, sys.modules['__main__'].__spec__.name)\n    return 7\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-agents\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ocs.plugins]\nother = other_agents.plugin\n")
    site.add_instance("OtherAgent", "other")
    env = starter.env(PYTHONPATH=str(tmp_path / "lib"))
    plain, forked = await starter.both("--instance-id", "other", *site.args, env=env)
    assert forked == plain
    assert plain.code == 7


_VARIABLE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d.\d\d.\d\d(\.\d+|\+\d+)?|session \d+|process \d+|\d+\.\d+ s")


def constant(text):
    """A log without what is different in each run."""
    return sorted(_VARIABLE.sub("*", text).splitlines())


def names_of(pid):
    """What a process is called, by its command line and in short."""
    process = Path(f"/proc/{pid}")
    return process.joinpath("cmdline").read_text().rstrip("\0 "), process.joinpath("comm").read_text()


async def answers(site):
    """Wait until the agent answers."""
    for _ in range(400):
        with suppress(LookupError):
            return await deferToThread(bridge_call, site.http_url, site.address("it"), "get_api")
        await deferLater(reactor, 0.05)
    raise AssertionError("it does not answer")


@pytest.mark.parametrize("agent_class", ["FakeDataAgent", "BarebonesAgent", "RegistryAgent"])
@pytest_twisted.ensureDeferred
async def test_a_real_agent_runs_alike(starter, site, tmp_path, agent_class):
    site.host["log-dir"] = str(tmp_path / "log")
    site.add_instance(agent_class, "it", ["--mode", "idle"] if agent_class != "RegistryAgent" else [])
    log = tmp_path / "log" / f"{site.address('it')}.log"
    found = []
    for forked in (False, True):
        child = starter.begin(starter.command(*IT, *site.args), forked)
        await answers(site)
        names = names_of(child.pid)
        starter._supervisors[-1].stop()
        ended = await starter.finish(child)
        found.append([*names, constant(ended.text), ended.code, ended.signum, constant(log.read_text())])
        log.unlink()
    assert isinstance(starter.launches[0], int)
    assert found[0] == found[1]
    assert found[0][0] == "ocs-agent:it"
    assert found[0][3] == 0


@pytest_twisted.ensureDeferred
async def test_all_that_an_agent_loads_has_been_loaded_already(starter, site):
    site.add_instance("FakeDataAgent", "it", ["--mode", "acq"])
    script = """
        import sys, ocs.agents.fake_data.agent as agent
        before = set(sys.modules)
        def main(args):
            from twisted.internet import reactor
            new = lambda: print("NEW", sorted(set(sys.modules) - before))
            reactor.callWhenRunning(lambda: reactor.callLater(2.0, lambda: (new(), reactor.stop())))
            agent.main(args)
    """
    ended = await starter.run("--agent", starter.script(script), *IT, *site.args, forked=True)
    assert "NEW ['twisted.internet.reactor']" in ended.text, ended.text


@pytest_twisted.ensureDeferred
async def test_agents_are_random_each_in_its_own_way(starter):
    script = starter.script(
        """
        import random, secrets, ssl, tempfile, uuid
        def main(args):
            print(random.random(), secrets.token_hex(), ssl.RAND_bytes(8).hex(), sep="\\n")
            print(tempfile.mktemp(), uuid.uuid4(), sep="\\n")
        """
    )
    runs = [await starter.run("--agent", script, *IT, forked=True) for _ in range(3)]
    said = [line for run in runs for line in run.text.splitlines()]
    assert len(set(said)) == len(said) == 15


@pytest_twisted.ensureDeferred
async def test_the_death_of_the_template_costs_no_agent(starter):
    script = starter.script(
        """
        import time
        def main(args):
            print("ready")
            time.sleep(1000)
        """
    )
    first = starter.begin(starter.command("--agent", script, *IT), forked=True)
    await starter.until(lambda: "ready" in first.output.tail.lines())
    starter.template._process.transport.signalProcess("KILL")
    await starter.until(lambda: starter.template.trouble)
    second = starter.begin(starter.command("--agent", script, *IT), forked=True)
    await starter.until(lambda: "ready" in second.output.tail.lines())
    await starter.until(lambda: not starter.template.trouble)
    third = starter.begin(starter.command("--agent", script, *IT), forked=True)
    await starter.until(lambda: "ready" in third.output.tail.lines())
    assert [type(launch) for launch in starter.launches] == [int, str, int]
    assert [child.state.phase for child in (first, second, third)] == [Phase.UP] * 3


@pytest_twisted.ensureDeferred
async def test_an_agent_that_ignores_signals_is_ended_as_any_other(starter):
    script = starter.script(
        """
        import signal, time
        def main(args):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("ready")
            time.sleep(1000)
        """
    )
    child = starter.begin(starter.command("--agent", script, *IT), forked=True)
    await starter.until(lambda: "ready" in child.output.tail.lines())
    supervisor = starter._supervisors[-1]
    supervisor.stop()
    supervisor.hurry()
    supervisor.hurry()
    ended = await starter.finish(child)
    assert ended.signum == signal.SIGKILL


@pytest_twisted.ensureDeferred
async def test_the_hash_secret_can_be_set(starter):
    look = "look = lambda: [hash('a'), list({str(n) for n in range(50)})]"
    plain, forked = await starter.seen(look, env=starter.env(PYTHONHASHSEED="7"))
    assert plain == forked


@pytest_twisted.ensureDeferred
async def test_many_at_once(starter, site):
    script = starter.script("def main(args): print(args)")
    children = [
        starter.begin(starter.command("--agent", script, "--instance-id", f"it-{number}"), forked=True)
        for number in range(40)
    ]
    ends = [await starter.finish(child) for child in children]
    assert [end.text for end in ends] == [f"['--instance-id', 'it-{number}']\n" for number in range(40)]
    assert len(set(starter.launches)) == 40
    assert all(isinstance(launch, int) for launch in starter.launches)
