from __future__ import annotations

import shutil

import pytest

from lop.dashboard import library as module
from lop.dashboard.library import Library


@pytest.fixture(autouse=True)
def always_find(monkeypatch):
    monkeypatch.setattr(module, "FIND_S", 0.0)


def test_runs_are_known_by_their_configuration(library):
    assert len(library.runs) == 12
    run = library.entries["sant/cbp/seed_1"]
    assert (run.env, run.algo, run.seed, run.variation, run.layers) == ("sant", "cbp", 1, "sant/cbp", [16, 12])
    assert run.curves.step == run.total_steps == 120 * 2048
    assert run.status == "finished" and run.notes == []


def test_a_run_that_grows_changes_the_version_and_one_that_rests_does_not(growing, tmp_path):
    library = Library(tmp_path / "runs")
    library.look()
    before = library.version
    library.look()
    assert library.version == before
    growing.advance(1)
    library.look()
    assert library.version > before and library.runs[0].curves.step == 11 * 2048
    assert library.runs[0].status == "running"


def test_a_run_that_appears_is_found_and_one_that_is_removed_is_gone(runs, tmp_path):
    library = Library(tmp_path)
    library.look()
    assert library.runs == []
    shutil.copytree(runs / "ant/std", tmp_path / "std")
    library.look()
    assert [run.name for run in library.runs] == ["std/seed_0", "std/seed_1", "std/seed_2"]
    shutil.rmtree(tmp_path / "std/seed_1")
    library.look()
    assert [run.name for run in library.runs] == ["std/seed_0", "std/seed_2"]


def test_a_run_json_that_was_mended_is_read_again(runs, tmp_path):
    shutil.copytree(runs / "ant/std/seed_0", tmp_path / "seed_0")
    whole = (tmp_path / "seed_0/run.json").read_bytes()
    (tmp_path / "seed_0/run.json").write_bytes(whole[:50])
    library = Library(tmp_path)
    library.look()
    assert "run.json is damaged" in library.runs[0].problem
    (tmp_path / "seed_0/run.json").write_bytes(whole)
    library.look()
    assert library.runs[0].problem == "" and library.runs[0].env == "ant"


def test_a_run_folder_itself_may_be_given(runs):
    library = Library(runs / "ant/std/seed_0")
    library.look()
    assert [run.name for run in library.runs] == ["seed_0"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"{"),
        ("run.json", b"[]"),
        ("run.json", b'{"format": 99}'),
        ("run.json", b'{"format": 1, "configuration": {"env": 3, "ppo": [1], "total_steps": "x"}, "layers": ["a", 2]}'),
        ("owner.json", b"{broken"),
        ("owner.json", b'{"status": 1}'),
        ("metrics.jsonl", b"\x00\xff\n{}\n[]\nnull\n"),
        ("metrics.jsonl", b'{"format":1,"global_step":2048,"return":{"a":1},"margin/dead_counts/layer_0":"x"}\n'),
        ("tasks.jsonl", b'{"format":1,"event":"start","task":"x"}\n{"format":1,"event":"end","task":-1}\n'),
        ("tasks.jsonl", b'{"format":1,"event":"start","task":1e300,"global_step":null}\n'),
        ("events", b"no header"),
        ("units", b"no header\n"),
    ],
)
def test_whatever_a_file_holds_every_page_is_made(runs, tmp_path, name, content):
    from lop.dashboard.board import look
    from lop.dashboard.pages import PAGES

    shutil.copytree(runs / "sant/std", tmp_path / "std")
    (tmp_path / "std/seed_0" / name).write_bytes(content)
    library = Library(tmp_path)
    library.look()
    for page in PAGES.values():
        look(page, library, {"run": ["std/seed_0"]})
    if name == "run.json" and b'"layers"' not in content:
        assert "run.json" in library.entries["std/seed_0"].problem


def test_an_empty_file_missing_files_and_a_folder_that_is_no_run_are_told(runs, tmp_path):
    shutil.copytree(runs / "ant/std", tmp_path / "std")
    for name in ("metrics.jsonl", "units", "events", "tasks.jsonl", "owner.json"):
        (tmp_path / "std/seed_0" / name).unlink()
    (tmp_path / "std/seed_9").mkdir()
    library = Library(tmp_path)
    library.look()
    assert library.no_runs == ["std/seed_9"]
    assert library.entries["std/seed_0"].curves.step == 0


def test_a_run_whose_process_is_gone_has_died(runs, tmp_path, monkeypatch):
    shutil.copytree(runs / "ant/std/seed_0", tmp_path / "seed_0")
    monkeypatch.setattr(module, "read_owner", lambda folder: {"status": "running", "message": ""})
    monkeypatch.setattr(module, "is_alive", lambda owner: False)
    library = Library(tmp_path)
    library.look()
    assert library.runs[0].status == "died" and "goes on" in library.runs[0].notes[0]


def test_long_files_are_read_to_their_end_in_time(runs, monkeypatch):
    from lop.dashboard import curves

    monkeypatch.setattr(curves, "WHOLE_BYTES", 1000)
    library = Library(runs)
    library.look()
    assert any(run.curves.is_preview for run in library.runs)
    assert library.fill(until=0.0)
    assert not library.fill(until=float("inf"))
    assert not any(run.curves.is_preview for run in library.runs)


def test_an_error_of_our_own_is_told_and_the_watch_goes_on(runs, monkeypatch):
    from lop.dashboard.pages.common import notes

    library = Library(runs)
    with monkeypatch.context() as broken:
        broken.setattr(library, "look", lambda: 1 // 0)
        module.Watch(library).once()
    assert "ZeroDivisionError" in notes(library, [])[0]
    module.Watch(library).once()
    assert len(library.runs) == 12
