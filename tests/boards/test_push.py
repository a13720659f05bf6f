"""The boards are the stored ones, and arrive at wandb once, however often and from wherever they are pushed."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest

pytest.importorskip("wandb_workspaces")

STORED = Path(__file__).with_name("boards.json")
PLACE = ("--entity", "lab", "--project", "lop")


def test_the_boards_equal_the_stored_ones(boards, tmp_path):
    # after a wanted change: python -m lop.boards push --json tests/boards/boards.json
    done = boards("push", "--json", tmp_path / "boards.json")
    assert (done.code, done.out, done.err) == (0, f"{tmp_path / 'boards.json'}\n", "")
    assert json.loads((tmp_path / "boards.json").read_text()) == json.loads(STORED.read_text())


def test_a_second_push_updates_what_the_first_one_made(boards, wandb_server):
    first = boards("push", *PLACE)
    assert (first.code, first.err) == (0, "")
    url = wandb_server.url
    assert first.out.splitlines() == [
        f"made: {url}/lab/lop?nw=lopboard",
        f"made: {url}/lab/lop/reports/lop-margins-ranks-and-return--Vmlld1",
    ]
    made = [dict(view) for view in wandb_server.views]
    assert [(view["kind"], view["name"]) for view in made] == [
        ("project-view", "nw-lopboard-v"),
        ("runs", "lopboardreport"),
    ]
    stored = json.loads(STORED.read_text())
    assert [json.loads(view["spec"]) for view in made] == [board["spec"] for board in stored]
    second = boards("push", *PLACE, "--layers", 3)
    assert second.out == first.out.replace("made", "updated")
    assert [view["id"] for view in wandb_server.views] == [view["id"] for view in made]
    assert all("margin/dead_counts/layer_2" in view["spec"] for view in wandb_server.views)


def test_a_view_of_another_name_is_left_alone(boards, wandb_server):
    mine = {"id": "mine", "name": "nw-mine-v", "kind": "project-view", "spec": "{}"}
    wandb_server.views.append(dict(mine))
    assert boards("push", *PLACE).code == 0
    assert wandb_server.views[0] == mine and len(wandb_server.views) == 3


@pytest.mark.parametrize(
    ("key", "words", "said"),
    [
        ("", PLACE, r"no key for wandb at 127\.0\.0\.1:\d+: `wandb login`, or set WANDB_API_KEY"),
        ("f" * 40, PLACE, r"wandb at 127\.0\.0\.1:\d+: .*permission denied; if the key is refused: `wandb login"),
        (
            None,
            ("--entity", "lab", "--project", "nope"),
            r"has no project lab/nope that this key may see: check --entity",
        ),
        (None, ("--entity", "other", "--project", "lop"), r"has no project other/lop that this key may see"),
        (None, ("--entity", "lab"), r"--entity and --project are needed"),
        (None, (*PLACE, "--layers", "0"), r"--layers 0: 1 to 100 is allowed"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_made(boards, wandb_server, key, words, said):
    done = boards("push", *words, **({} if key is None else {"key": key}))
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1 and re.search(f"^error: .*{said}", done.err)
    assert wandb_server.views == []


def test_a_host_that_is_not_there_is_said_at_once(boards):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    begin = time.monotonic()
    done = boards("push", *PLACE, url=url)
    assert done.code == 2 and "cannot be reached from here" in done.err and done.err.count("\n") == 1
    assert time.monotonic() - begin < 30


def test_a_host_that_never_answers_is_given_up(boards, wandb_server, monkeypatch):
    monkeypatch.setattr("lop.boards.server.TIMEOUT_S", 2)
    wandb_server.broken = "silent"
    begin = time.monotonic()
    done = boards("push", *PLACE)
    assert done.code == 2 and done.err.startswith("error: wandb at 127.0.0.1")
    assert done.err.count("\n") == 1
    assert time.monotonic() - begin < 20


def test_a_missing_package_is_named_with_the_extra_that_brings_it(boards, monkeypatch):
    monkeypatch.setattr("lop.boards.NEEDS", ("wandb", "no_such_package"))
    done = boards("push", *PLACE)
    assert (done.code, done.err) == (2, "error: lop.boards needs no-such-package: pip install 'lop-rl[boards]'\n")
