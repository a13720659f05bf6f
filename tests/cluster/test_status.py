"""What `python -m lop.status` prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lop import status
from lop.cluster.standing import Standing
from lop.cluster.survey import RunStatus, Survey
from lop.status import chosen, main, table


def run(name: str, state: str, step: int = 0, note: str = "", **more) -> RunStatus:
    standing = Standing(Path(name), exists=True, step=step, **more)
    return RunStatus(name, state, note, standing, 100_000, "7_1", "gpu0", "20260102-030405-ab12")


SURVEY = Survey(
    [
        run("ant/cbp/seed_2", "running", 12_345, steps_per_s=250.0, last_return=2410.4, dead=[3.0, 12.0]),
        run("ant/cbp/seed_10", "failed", 99_999, "disk full"),
        run("sant/std/seed_0", "finished", 100_000, last_return=-3.25, dead=[0.0, 1.5]),
    ],
    ["squeue: no answer"],
)


def test_every_run_has_one_line_and_the_totals_follow():
    head, first, second, third, empty, totals, problem = table(SURVEY).splitlines()
    assert head.split() == ["run", "state", "steps", "steps/s", "left", "return", "dead", "job"]
    assert first.split("  ")[0] == "ant/cbp/seed_2"
    # 87,655 steps at 250 a second are 351 s
    assert "12.3k/100k  12%" in first and "250" in first and "5 min 51 s" in first and "2,410" in first
    assert "3/12" in first and first.endswith("7_1@gpu0")
    # what is not done is never shown as 100 %
    assert "100k/100k  99%" in second and second.endswith("disk full")
    assert "100k/100k 100%" in third and "0/1.5" in third
    assert empty == "" and problem == "note: squeue: no answer"
    assert totals.startswith("3 runs: 1 running, 1 finished, 1 failed | 212k of 300k steps, 70.7% | 250 steps/s")
    assert totals.endswith("running ones done in 5 min 51 s")


def test_no_line_is_wider_than_the_terminal():
    lines = table(SURVEY, width=60).splitlines()
    assert all(len(line) <= 60 for line in lines[:4]) and lines[1].endswith("…")


def test_more_runs_than_lines_of_the_terminal_leave_the_totals_in_sight():
    many = Survey([run(f"a/b/seed_{i}", "queued") for i in range(100)], [])
    lines = table(many, height=20).splitlines()
    assert len(lines) <= 20 and lines[-1].startswith("100 runs: 100 queued") and "more" in lines[-3]


def test_nothing_is_said_in_one_line():
    assert table(Survey([], [])) == "no runs"
    assert table(Survey([run("a/b/seed_0", "queued")], [])).splitlines()[0].split() == ["run", "state", "steps", "job"]


def test_runs_can_be_chosen_by_name_and_state():
    assert [r.run for r in chosen(SURVEY, "ant/*", None).runs] == ["ant/cbp/seed_2", "ant/cbp/seed_10"]
    assert [r.run for r in chosen(SURVEY, "sant/std", None).runs] == ["sant/std/seed_0"]
    assert [r.run for r in chosen(SURVEY, None, ["failed", "dead"]).runs] == ["ant/cbp/seed_10"]


def test_json_holds_everything_and_no_nan(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(status, "look", lambda _: SURVEY)
    assert main([str(tmp_path), "--json", "--state", "care"]) == 0
    content = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    (only,) = content["runs"]
    assert only["run"] == "ant/cbp/seed_10" and only["last_return"] is None and only["job"] == "7_1"
    assert content["problems"] == ["squeue: no answer"] and content["totals"]["states"] == {"failed": 1}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/nowhere/at/all"], "/nowhere/at/all: there is no such folder"),
        (["--state", "sleeping"], "--state sleeping: must be of running, "),
        (["--watch", "0"], "--watch 0: at least 1 s"),
        (["--watch", "often"], "often"),
        (["--shiny"], "unrecognized arguments: --shiny"),
    ],
)
def test_wrong_words_get_one_line(words, told, capsys):
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and told in err and err.count("\n") == 1 and err.startswith("error: ")


def test_watching_goes_on_until_interrupted_and_follows_what_changes(tmp_path):
    command = [sys.executable, "-m", "lop.status", str(tmp_path), "--watch", "1"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watching.stdout.readline() == "no runs\n"
    folder = tmp_path / "a" / "b" / "seed_0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{")
    until = time.monotonic() + 20
    while "a/b/seed_0" not in (line := watching.stdout.readline()):
        assert time.monotonic() < until
    assert "missing" in line and "run.json" in line
    watching.send_signal(2)
    assert watching.wait(20) == 0
    watching.stdout.close()


def test_it_needs_no_torch(tmp_path):
    program = f"import sys; from lop.status import main; main([{str(tmp_path)!r}]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.splitlines() == ["no runs", "False"]
