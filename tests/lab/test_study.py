"""What the studies share: whole numbers on the command line, the folder they write into, Wilson's interval."""

from __future__ import annotations

import argparse
import importlib.util
import math
from pathlib import Path

import pytest

from lop.lab.study import MAX_SEED, open_folder, study_parser, whole, wilson
from lop.run.files import RunError


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("100", 100), ("1e2", 100), ("5.0", 5), (" 7 ", 7), ("+3", 3), ("1_0", 10)]
)
def test_a_whole_number_within_its_limits_is_taken(text, value):
    got = whole(1, 100)(text)
    assert got == value and type(got) is int


@pytest.mark.parametrize("text", ["0", "101", "1.5", "-1", "", "ten", "nan", "inf", "-inf", "1e400", "0x10", "1e-3"])
def test_anything_else_is_refused_with_what_is_allowed(text):
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        whole(1, 100)(text)
    assert str(refused.value) == f"{text}: must be a whole number from 1 to 100"


def test_every_digit_of_a_large_seed_is_kept():
    assert whole(0, MAX_SEED)(str(MAX_SEED)) == MAX_SEED == 4_294_967_295
    assert whole(0, 2**63)(str(2**53 + 1)) == 2**53 + 1


def test_the_parser_has_the_folder_and_the_seed():
    given = study_parser("some_study", "What it does.").parse_args([])
    assert (given.out, given.seed) == (Path("lab/some_study"), 0)
    assert study_parser("some_study", "What it does.", seed=7).parse_args([]).seed == 7
    assert not hasattr(study_parser("some_study", "What it does.", seed=None).parse_args([]), "seed")


def test_a_wrong_seed_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        study_parser("some_study", "What it does.").parse_args(["--seed", "nan"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert error.startswith("error: argument --seed: nan: must be a whole number from 0 to 4294967295")


def test_the_folder_is_made_with_its_parents_and_used_again(tmp_path):
    assert open_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "a" / "b" / "kept.txt").write_text("x")
    open_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "kept.txt").read_text() == "x"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="--out .*file: is a file; give a folder"):
        open_folder(tmp_path / "file")
    with pytest.raises(RunError, match="cannot make the folder"):
        open_folder(tmp_path / "file" / "below")


def test_a_missing_package_is_named_with_the_extra_before_a_folder_is_made(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'lop-rl\[lab\]'"):
        open_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def by_hand(successes: int, runs: int) -> tuple[float, float]:
    """Wilson's interval as the two roots of (p - s/n)² = z² p (1 - p) / n."""
    z, share = 1.959963984540054, successes / runs
    a, b, c = 1 + z * z / runs, -(2 * share + z * z / runs), share * share
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@pytest.mark.parametrize(("successes", "runs"), [(29, 50), (1, 2), (984, 1000), (1, 1000), (3333, 4000)])
def test_wilsons_interval_is_the_two_roots(successes, runs):
    assert wilson(successes, runs) == pytest.approx(by_hand(successes, runs), abs=1e-12)


def test_an_interval_ends_at_certainty():
    # 0 of n: from 0 to z²/(n + z²) = 3.841459/103.841459
    low, high = wilson(0, 100)
    assert low == 0.0 and high == pytest.approx(0.0369935, abs=1e-7)
    low, high = wilson(100, 100)
    assert low == pytest.approx(1 - 0.0369935, abs=1e-7) and high == 1.0


def test_a_higher_level_is_a_wider_interval():
    (low, high), (wider_low, wider_high) = wilson(29, 50), wilson(29, 50, level=0.99)
    assert wider_low < low < 0.58 < high < wider_high
