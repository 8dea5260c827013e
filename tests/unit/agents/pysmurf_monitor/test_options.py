"""The monitor's options mean what they say."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from ocs.agents.pysmurf_monitor.options import make_parser, option, port, size, truth


def parse(*words):
    return make_parser().parse_args(list(words))


def test_defaults_are_the_documented_ones():
    args = parse()
    assert (args.udp_port, args.db_path) == (8200, "/data/so/databases/suprsync.db")
    assert (args.create_table, args.echo_sql, args.test_mode) == (True, False, False)
    assert (args.bind, args.allow_root, args.any_root) == ("", None, False)
    assert args.journal_size == 1 << 30
    assert args.crossbar_timeout == 0


@pytest.mark.parametrize("name", ["create-table", "echo-sql", "test-mode"])
@pytest.mark.parametrize(
    ("words", "meant"), [(["True"], True), (["False"], False), (["0"], False), (["yes"], True), ([], True)]
)
def test_a_boolean_means_what_it_says(name, words, meant):
    assert getattr(parse(f"--{name}", *words), name.replace("-", "_")) is meant


@pytest.mark.parametrize("word", ["maybe", "", "2"])
def test_another_word_is_an_error(word, capsys):
    with pytest.raises(SystemExit):
        parse("--create-table", word)
    assert "True or False" in capsys.readouterr().err


def test_roots_are_collected():
    assert parse("--allow-root", "/a", "--allow-root", "/b").allow_root == ["/a", "/b"]


@pytest.mark.parametrize(
    ("text", "meant"), [("1M", 1 << 20), ("1.5G", 3 << 29), ("2000000", 2_000_000), ("2 GiB", 2 << 30)]
)
def test_a_size_is_understood(text, meant):
    assert size(text) == meant


@pytest.mark.parametrize("text", ["", "-1", "1K", "G", "1e9", "1X"])
def test_what_is_no_size_is_an_error(text):
    with pytest.raises(Exception, match="must be"):
        size(text)


@pytest.mark.parametrize("text", ["-1", "65536", "x", "", "1.5"])
def test_what_is_no_port_is_an_error(text):
    with pytest.raises(Exception, match="must be a port"):
        port(text)


def test_ports_and_truths_are_understood():
    assert (port("0"), port("65535"), truth(" TRUE ")) == (0, 65535, True)


def test_what_a_mock_has_for_an_option_is_the_default():
    assert option(Mock(), "db_path", str, "/db") == "/db"
    assert option(SimpleNamespace(), "db_path", str, "/db") == "/db"
    assert option(SimpleNamespace(db_path="/other"), "db_path", str, "/db") == "/other"
