"""Command lines: whatever is wrong is one line on stderr, and the exit code says so."""

from __future__ import annotations

import warnings

import pytest

from lop.run.command import Parser, error_line, shorten_warnings, wrong
from lop.run.files import RunError


@pytest.fixture
def parser():
    parser = Parser(prog="python -m lop.something", description="Does something.")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--mode", choices=["fast", "slow"])
    return parser


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["--mode", "fats"], "argument --mode: invalid choice: 'fats'"),
        (["--stpes", "3"], "unrecognized arguments: --stpes 3"),
        (["--steps"], "argument --steps: expected one argument"),
        (["--steps", "two\nlines"], "invalid int value: 'two\\nlines'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_ends_with_2(parser, words, says, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == ""
    assert said.err.startswith("error: ") and says in said.err
    assert said.err.endswith("; python -m lop.something --help says more\n") and said.err.count("\n") == 1


def test_a_message_of_several_lines_becomes_one(parser, capsys):
    with pytest.raises(SystemExit):
        parser.error("first line\n    second   line\n")
    assert capsys.readouterr().err == "error: first line second line; python -m lop.something --help says more\n"


def test_subcommands_answer_in_the_same_way(parser, capsys):
    outer = Parser(prog="python -m lop.other")
    train = outer.add_subparsers(dest="command", required=True).add_parser("train")
    train.add_argument("--runs", type=int)
    with pytest.raises(SystemExit) as ended:
        outer.parse_args(["train", "--runs", "x"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert error.endswith("python -m lop.other train --help says more\n")


def test_help_is_printed_and_ends_with_0(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--help"])
    said = capsys.readouterr()
    assert ended.value.code == 0 and "Does something." in said.out and said.err == ""


def test_wrong_says_an_error_and_gives_the_exit_code(capsys):
    assert wrong(RunError("runs/a: no such folder\n  give one")) == 2
    assert wrong("a text", code=1) == 1
    said = capsys.readouterr()
    assert said.err == "error: runs/a: no such folder give one\nerror: a text\n" and said.out == ""


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "  a\t b  ", "a\u2028b"])
def test_an_error_line_has_no_line_break(text):
    assert error_line(text) == "error: a b"


def test_a_warning_is_one_line_without_its_place(capsys, monkeypatch):
    # both are put back when the test ends
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shorten_warnings()
        warnings.warn("the disk is nearly full", UserWarning, stacklevel=1)
    said = capsys.readouterr()
    assert said.err == "warning: the disk is nearly full\n" and said.out == ""
