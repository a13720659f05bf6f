"""The benchmark's file: whole after a kill, closed to other configurations."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lop.lab.symmetry import benchmark
from lop.lab.symmetry.__main__ import main
from lop.lab.symmetry.results import ResultsFile
from lop.lab.symmetry.settings import Settings

SMALL = ["--points", "200", "--epochs", "3", "--batch-size", "64", "--num-hidden-layers", "2", "--hidden-dim", "10"]
GRID = ["--seeds", "1", "2-3", "--lambdas", "0", "1", "--layers", "all", "--members", "2"]


def run(out: Path, *words: str) -> int:
    return main(["benchmark", *SMALL, *GRID, "--out", str(out), *words])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """The file of an uninterrupted benchmark: 3 seeds, without and at 3 layers."""
    out = tmp_path_factory.mktemp("whole")
    assert run(out) == 0
    return (out / "results.csv").read_bytes()


def test_a_row_for_every_point_of_the_grid(whole):
    header, *rows = whole.decode().splitlines()
    cells = [row.split(",") for row in rows]
    assert [row[1:4] for row in cells[:4]] == [
        ["1", "none", "0"],
        ["1", "1", "1"],
        ["1", "2", "1"],
        ["1", "-1", "1"],
    ]
    assert len(rows) == 12
    assert {len(row) for row in cells} == {len(header.split(","))}


def test_killed_and_resumed_it_leaves_the_same_file(whole, tmp_path):
    path = tmp_path / "results.csv"
    command = [sys.executable, "-m", "lop.lab.symmetry", "benchmark", *SMALL, *GRID, "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 120
            while not path.exists() or path.read_bytes().count(b"\n") < 3:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.002)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    there = path.read_bytes().count(b"\n") - 1
    assert 2 <= there < 12
    assert run(tmp_path) == 0
    assert path.read_bytes() == whole


@pytest.mark.parametrize("left", [0.0, 0.02, 0.3, 0.5, 0.999])
def test_a_torn_line_is_cut_and_its_member_trained_again(whole, tmp_path, left, monkeypatch):
    path, trained = tmp_path / "results.csv", []
    path.write_bytes(whole[: int(left * len(whole))])
    finished = max(path.read_bytes().count(b"\n") - 1, 0)
    original = benchmark.train
    monkeypatch.setattr(benchmark, "train", lambda s, members, d: trained.extend(members) or original(s, members, d))
    assert run(tmp_path) == 0
    assert path.read_bytes() == whole
    assert len(trained) == 12 - finished


def test_a_larger_grid_trains_what_is_new(whole, tmp_path, monkeypatch):
    (tmp_path / "results.csv").write_bytes(whole)
    trained = []
    original = benchmark.train
    monkeypatch.setattr(benchmark, "train", lambda s, members, d: trained.extend(members) or original(s, members, d))
    assert run(tmp_path, "--lambdas", "0", "1", "0.5", "--layers", "-1", "1") == 0
    assert {(member.layer, member.lambda_max) for member in trained} == {(-1, 0.5), (1, 0.5)}
    assert (tmp_path / "results.csv").read_bytes().startswith(whole)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ("--learning-rate", "0.1", "--epochs", "4"),
            "epochs (3 there, 4 asked), learning_rate (0.0003 there, 0.1 asked)",
        ),
        (("--num-hidden-layers", "3"), "num_hidden_layers (2 there, 3 asked)"),
        (("--rotations", "point"), "rotations (batch there, point asked)"),
    ],
)
def test_another_configuration_is_refused_and_named(whole, tmp_path, capsys, words, named):
    path = tmp_path / "results.csv"
    path.write_bytes(whole)
    assert run(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content", ["mine\n", "a,b\n1,2", "format,seed,symmetry_layer,lambda_sym_max,other\n1,2,3,4,5\n"]
)
def test_a_file_that_is_not_a_benchmarks_is_left_alone(tmp_path, capsys, content):
    path = tmp_path / "results.csv"
    path.write_text(content)
    assert run(tmp_path) == 2
    assert "holds no benchmark's results" in capsys.readouterr().err
    assert path.read_text() == content


def test_two_at_once_are_refused(tmp_path, capsys):
    with ResultsFile(tmp_path / "results.csv", Settings()):
        assert run(tmp_path) == 2
    assert "another benchmark is writing it" in capsys.readouterr().err


def test_a_file_system_without_locks_does_without(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with ResultsFile(tmp_path / "results.csv", Settings()) as results:
        assert results.done == set()
