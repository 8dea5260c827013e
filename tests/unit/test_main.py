"""The program `ocs`: its commands, its help, its errors."""

import importlib
import subprocess
import sys

import pytest

from ocs import __version__
from ocs.cli.main import COMMANDS, main


def test_without_a_command_it_lists_them(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-V"]])
def test_it_tells_its_version(capsys, words):
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(f"ocs {__version__} ")


def test_an_unknown_command_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["frobnicate"])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert "frobnicate" in error
    assert "up" in error


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(capsys, name):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: ocs {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_keeps_the_promise_of_its_module(name):
    module = importlib.import_module(COMMANDS[name].module)
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_help_loads_no_twisted():
    script = "import sys; from ocs.cli.main import main; main([]); sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
