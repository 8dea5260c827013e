"""ocs-install-systemd: what it writes, and that systemd takes it, whatever the folders are called."""

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from ocs.cli.install_systemd import main

HOSTILE = ["plain", "with blank", "per%cent %h", "quote \" and ' here", "back\\slash", "$HOME ${x} `id`", "ü;&|<>*?[a]"]
SYSTEMD = "/lib/systemd/systemd"


@pytest.fixture
def analyze():
    """Check a unit with systemd's own tool; returns what it complains of."""
    program = shutil.which("systemd-analyze")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no systemd-analyze: install systemd")

    def run(unit):
        done = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
        complaints = [line for line in done.stderr.splitlines() if str(unit.parent) in line or unit.name in line]
        return done.returncode, complaints

    return run


def write_site(folder, **keys):
    folder.mkdir(parents=True, exist_ok=True)
    hub = {"wamp_server": "ws://x/ws", "wamp_http": "http://x/call", "wamp_realm": "r", "address_root": "observatory"}
    instances = [{"agent-class": "HostManager", "instance-id": "hm-h1"}, {"agent-class": "A", "instance-id": "a"}]
    host = {"agent-instances": instances, **keys}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump({"hub": hub, "hosts": {"h1": host}}))
    return ["--site-file", str(path), "--site-host", "h1"]


def install(folder, *words):
    """Write both files to a folder beside a site file, and return their paths."""
    assert main([*write_site(folder), "--output-dir", str(folder), *words]) == 0
    return folder / "ocs-hostmanager.service", folder / "launcher-hm-h1.sh"


@pytest.fixture(autouse=True)
def no_config_dir(monkeypatch):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    monkeypatch.delenv("OCS_STATE_DIR", raising=False)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", [(), ("--user",)])
def test_systemd_takes_the_unit(name, kind, tmp_path, analyze):
    unit, _ = install(tmp_path / name, *kind)
    plain = tmp_path / unit.name  # systemd-analyze itself is the one that stumbles over some folders
    shutil.copy(unit, plain)
    assert analyze(plain) == (0, [])


def test_systemd_complains_of_a_unit_that_is_wrong(tmp_path, analyze):
    unit, _ = install(tmp_path)
    unit.write_text(unit.read_text().replace("KillMode=process", "KillMode=nobody"))
    assert analyze(unit)[1]


@pytest.fixture
def open_folder():
    """A folder that everybody may look into, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="ocs-unit-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", HOSTILE)
def test_systemd_reads_every_path_as_it_was_meant(name, open_folder):
    """systemd itself loads the unit in its test mode, and says what it has understood."""
    if not Path(SYSTEMD).exists():
        pytest.skip(f"no {SYSTEMD}")
    runtime = open_folder / "run"
    runtime.mkdir(mode=0o777)
    runtime.chmod(0o777)
    folder = open_folder / name
    install(folder, "--user", "--service-name", "tried")
    (open_folder / "units").mkdir()
    shutil.copy(folder / "tried.service", open_folder / "units")
    environment = {"SYSTEMD_UNIT_PATH": f"{open_folder / 'units'}:", "XDG_RUNTIME_DIR": str(runtime), "HOME": "/"}
    done = subprocess.run(
        [SYSTEMD, "--test", "--user", "--unit=tried.service"],
        env=environment,
        user="nobody" if os.getuid() == 0 else None,  # it does not try things out as root
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = {line.strip() for line in done.stdout.splitlines()}
    if not any(line.startswith("-> Unit tried.service") for line in lines):
        pytest.skip(f"systemd has no test mode here: {done.stderr.strip()[-200:]}")
    assert f"WorkingDirectory: {folder}" in lines
    command = next(line for line in lines if line.startswith("Command Line: /bin/sh ") and "launcher" in line)
    # It shows the words as a shell would need them; of two dollars it makes one when it runs the program.
    words = command.removeprefix("Command Line: /bin/sh ")
    word = subprocess.run(["/bin/sh", "-c", f"printf %s {words}"], capture_output=True, text=True, check=True).stdout
    assert word.replace("$$", "$") == str(folder / "launcher-hm-h1.sh")


@pytest.mark.parametrize("name", HOSTILE)
def test_the_launcher_starts_what_was_meant(name, tmp_path):
    """A stand-in for Python prints its arguments and environment, through the very script that systemd runs."""
    python = tmp_path / name / "python of mine"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$A" "$$" "$@"\n')
    python.chmod(0o755)
    value = f"{name} = '$HOME'"
    _, launcher = install(tmp_path / name, "--python-bin", str(python), "--env", f"A={value}", "--log-dir", name)
    with subprocess.Popen(["/bin/sh", launcher], stdout=subprocess.PIPE, text=True) as process:
        said = process.communicate(timeout=20)[0].splitlines()
    assert said[0] == value
    assert said[1] == str(process.pid), "systemd has to watch the HostManager, not the shell before it"
    assert said[2:] == [
        "-m", "ocs.agent_cli", "--instance-id=hm-h1", f"--site-file={tmp_path / name / 'site.yaml'}",
        "--site-host=h1", f"--log-dir={name}",
    ]  # fmt: skip


def test_a_crash_leaves_the_agents_and_a_hang_is_noticed(tmp_path):
    lines = install(tmp_path)[0].read_text().splitlines()
    for line in ("Type=notify", "NotifyAccess=main", "WatchdogSec=30", "Restart=always", "KillMode=process"):
        assert line in lines
    assert f"User={pwd.getpwuid(os.getuid()).pw_name}" in lines or "SUDO_USER" in os.environ
    assert "After=network-online.target docker.service" in lines
    assert "WantedBy=multi-user.target" in lines


def test_a_user_s_own_unit_names_no_user(tmp_path):
    text = install(tmp_path, "--user")[0].read_text()
    assert "User=" not in text
    assert "WantedBy=default.target" in text


def test_compose_files_are_meant_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, launcher = install(tmp_path, "--docker-compose", "a.yaml,/b/c.yaml")
    assert f"--docker-compose={tmp_path}/a.yaml,/b/c.yaml" in launcher.read_text()


def test_the_folder_of_the_launcher_is_the_site_s(tmp_path, monkeypatch):
    words = write_site(tmp_path / "config")
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path / "config"))
    assert main(["--site", "site", *words[2:], "--service-dir", str(tmp_path)]) == 0
    assert (tmp_path / "config" / "launcher-hm-h1.sh").exists()
    assert "export OCS_CONFIG_DIR" in (tmp_path / "config" / "launcher-hm-h1.sh").read_text()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--service-host", "h1"], "ocs-hostmanager-h1.service"),
        (["--service-name", "mine"], "mine.service"),
        (["--service-name", "mine.service"], "mine.service"),
    ],
)
def test_the_unit_s_name(words, name, tmp_path):
    install(tmp_path, *words)
    assert (tmp_path / name).exists()


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    words = write_site(tmp_path)
    assert main([*words, "--output-dir", str(tmp_path), "--dry-run"]) == 0
    assert "KillMode=process" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["site.yaml"]


def test_what_differs_is_shown_and_kept_unless_forced(tmp_path, capsys):
    unit, launcher = install(tmp_path)
    launcher.write_text("mine\n")
    words = [*write_site(tmp_path), "--output-dir", str(tmp_path), "--service-host", "new"]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "-mine" in shown.out
    assert "--force" in shown.err
    assert launcher.read_text() == "mine\n"
    assert not (tmp_path / "ocs-hostmanager-new.service").exists()
    assert main([*words, "--force"]) == 0
    assert "ocs.agent_cli" in launcher.read_text()
    assert unit.exists()


def test_a_second_time_there_is_nothing_to_write(tmp_path, capsys):
    install(tmp_path)
    capsys.readouterr()
    install(tmp_path)
    assert capsys.readouterr().out.count("is up to date") == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--service-user", "nobody-at-all"], "no user 'nobody-at-all'"),
        (["--python-bin", "/no/python"], "no such program"),
        (["--shell", "/no/sh"], "no such program"),
        (["--service-name", "a b"], "cannot be the name of a unit"),
        (["--env", "novalue"], "NAME=VALUE"),
        (["--env", "a b=c"], "NAME=VALUE"),
        (["--instance-id", "a"], "not HostManager"),
        (["--working-dir", "/a\nb"], "control character"),
        (["--working-dir", "/a "], "blank"),
    ],
)
def test_what_cannot_be_is_one_line(words, text, tmp_path, capsys):
    assert main([*write_site(tmp_path), "--output-dir", str(tmp_path), *words]) == 1
    error = capsys.readouterr().err
    assert text in error
    assert len(error.splitlines()) == 1


def test_a_host_without_a_manager_is_one_line(tmp_path, capsys):
    words = write_site(tmp_path)
    path = Path(words[1])
    path.write_text(path.read_text().replace("agent-class: HostManager", "agent-class: B"))
    assert main([*words, "--output-dir", str(tmp_path)]) == 1
    assert "HostManager" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_without_the_right_to_write_it_says_what_to_do(tmp_path, capsys):
    assert main([*write_site(tmp_path), "--launcher-dir", str(tmp_path)]) == 1
    assert "sudo" in capsys.readouterr().err


def test_help_names_the_published_options(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--docker-compose", "--shell", "--python-bin", "--launcher-dir", "--launcher-script",
                   "--service-dir", "--service-user", "--service-name", "--service-host"):  # fmt: skip
        assert option in shown


def test_the_python_is_the_one_that_runs_us_links_and_all(tmp_path):
    """Of a virtual environment's interpreter the link is what makes it one."""
    _, launcher = install(tmp_path)
    assert f"exec {shlex.quote(sys.executable)} " in launcher.read_text()
