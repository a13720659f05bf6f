"""Checkpoints are whole, checked, and never missing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lop.run import checkpoint as module
from lop.run.checkpoint import (
    CHECKPOINT,
    CheckpointError,
    load_checkpoint,
    peek_meta,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from lop.run.files import RunError

TENSORS = {
    "zero_dimensional": np.array(5),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "bytes": np.arange(256, dtype=np.uint8),
    "words": np.array([2**64 - 1], np.uint64),
    "half": np.array([np.inf, -0.0, 6e-8], np.float16),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "strided": np.arange(10)[::2],
    "big_endian": np.arange(3, dtype=">i4"),
    # a quiet and a signalling NaN with payloads
    "nan32": np.array([0x7FC12345, 0x7F812345], np.uint32).view(np.float32),
    "nan64": np.array([0x7FF8000000ABCDEF, 0xFFF0000000000001], np.uint64).view(np.float64),
}


def test_every_kind_of_array_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, TENSORS, {"global_step": 7})
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        back = loaded.tensors[name]
        little = array.astype(array.dtype.newbyteorder("<"))
        assert (back.dtype, back.shape) == (little.dtype, array.shape), name
        assert back.tobytes() == little.tobytes(order="C"), name
        assert back.flags.writeable, name


def test_meta_keeps_big_integers_nan_and_nesting(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {}, {"seed": 2**100, "best": float("-inf"), "offsets": {"units": 12}, "names": ["ü"]})
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.meta == {"seed": 2**100, "best": float("-inf"), "offsets": {"units": 12}, "names": ["ü"]}


def test_same_content_gives_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_tensors(a, {"x": np.ones(3), "y": np.zeros(2, np.float32)}, {"p": 1, "q": 2})
    write_tensors(b, {"y": np.zeros(2, np.float32), "x": np.ones(3)}, {"q": 2, "p": 1})
    assert a.read_bytes() == b.read_bytes()


def test_a_dtype_that_cannot_be_saved_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'bad'.*object"):
        save_checkpoint(tmp_path, {"bad": np.array([None])}, {})
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "no such folder") is None


@pytest.mark.filterwarnings("error")
def test_the_one_before_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, {"a": np.array(step)}, {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "checkpoint.previous"]
    newest = load_checkpoint(tmp_path)
    assert newest is not None and newest.meta == {"step": 3}
    (tmp_path / "checkpoint").unlink()
    with pytest.warns(UserWarning, match="checkpoint: missing; going on from checkpoint.previous"):
        older = load_checkpoint(tmp_path)
    assert older is not None and older.meta == {"step": 2}


def test_every_flipped_bit_and_every_shortened_length_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"a": np.arange(20.0)}, {"step": 1})
    path = tmp_path / "checkpoint"
    good = path.read_bytes()
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="checkpoint"):
            load_checkpoint(tmp_path)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path)
    path.write_bytes(good + b"\0")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)


def test_a_damaged_one_falls_back_with_a_warning_that_says_why(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"a": np.array(step)}, {"step": step})
    path = tmp_path / "checkpoint"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(UserWarning, match=r"checkpoint: checksum does not match .*going on from checkpoint\.previous"):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.meta == {"step": 1}


def test_both_damaged_is_one_line_that_names_both(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"junk")
    (tmp_path / "checkpoint.previous").mkdir()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path)
    assert "4 bytes" in str(caught.value)
    assert "Is a directory" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_saving_over_a_damaged_checkpoint_keeps_the_sound_previous_one(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {}, {"step": step})
    (tmp_path / "checkpoint").write_bytes(b"junk")
    save_checkpoint(tmp_path, {}, {"step": 3})
    (tmp_path / "checkpoint").write_bytes(b"junk")
    with pytest.warns(UserWarning, match="not a checkpoint"):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.meta == {"step": 1}


def test_a_newer_format_is_refused_by_number(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {}, {})
    data = bytearray((tmp_path / "checkpoint").read_bytes())
    data[7] = 9
    (tmp_path / "checkpoint").write_bytes(data)
    with pytest.raises(CheckpointError, match="format version 9, this program reads 1"):
        load_checkpoint(tmp_path)


def test_without_hard_links_the_previous_one_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    for step in (1, 2):
        save_checkpoint(tmp_path, {}, {"step": step})
    (tmp_path / "checkpoint").unlink()
    with pytest.warns(UserWarning, match="missing"):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.meta == {"step": 1}


def test_a_full_disk_is_one_line_and_leaves_both_checkpoints(tmp_path: Path, disk: Any) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {}, {"step": step})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    disk.is_full = True
    with pytest.raises(RunError, match="cannot write .*checkpoint: No space left on device"):
        save_checkpoint(tmp_path, {"a": np.zeros(1000)}, {"step": 3})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_fence_that_raises_leaves_the_checkpoints_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {}, {"step": 1})

    def fence() -> None:
        raise RunError("taken over")

    with pytest.raises(RunError, match="taken over"):
        save_checkpoint(tmp_path, {}, {"step": 2}, fence=fence)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.meta == {"step": 1}


SAVE_FOR_EVER = """
import sys, numpy as np
from lop.run.checkpoint import load_checkpoint, save_checkpoint
old = load_checkpoint(sys.argv[1])
step = old.meta["step"] if old else 0
print("ready", flush=True)
while True:
    step += 1
    save_checkpoint(sys.argv[1], {"a": np.full(20_000, step)}, {"step": step})
"""


@pytest.mark.filterwarnings("error")
def test_kill_in_the_middle_of_saving_never_leaves_an_unreadable_state(tmp_path: Path) -> None:
    draw, last = random.Random(0), 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(0.02 + draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        loaded = load_checkpoint(tmp_path)  # a fallback would warn, and warnings are errors here
        if loaded is not None:
            assert loaded.meta["step"] >= last
            assert np.array_equal(loaded.tensors["a"], np.full(20_000, loaded.meta["step"]))
            last = loaded.meta["step"]
    assert last > 0


def test_checkpoint_name_never_disappears_while_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {}, {"step": 1})
    seen = []
    for name in ("replace", "link"):
        original = getattr(os, name)

        def watched(*arguments: object, original=original) -> None:
            original(*arguments)
            seen.append((tmp_path / "checkpoint").exists())

        monkeypatch.setattr(module.os, name, watched)
    save_checkpoint(tmp_path, {}, {"step": 2})
    assert seen == [True] * 3


def test_a_snapshot_is_a_plain_safetensors_file(tmp_path: Path) -> None:
    import safetensors.numpy

    write_tensors(tmp_path / "5.safetensors", {"w": np.ones(2, np.float32)}, {"global_step": 5})
    assert np.array_equal(safetensors.numpy.load_file(tmp_path / "5.safetensors")["w"], [1, 1])
    assert read_tensors(tmp_path / "5.safetensors").meta == {"global_step": 5}


def test_a_missing_or_foreign_snapshot_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read .*none: No such file"):
        read_tensors(tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"junk" * 10)
    with pytest.raises(CheckpointError, match="not readable"):
        read_tensors(tmp_path / "junk")


def test_peeking_gives_the_meta_alone_and_says_what_is_no_checkpoint(tmp_path):
    assert peek_meta(tmp_path) is None
    save_checkpoint(tmp_path, {"w": np.ones((100, 100))}, {"global_step": 2048, "note": ["ü", 1.5]})
    assert peek_meta(tmp_path) == load_checkpoint(tmp_path).meta
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for damaged in (whole[:20], whole[:60], b"", b"\x00" * 200, whole[:40] + b"\xff" * 8 + whole[48:]):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(CheckpointError):
            peek_meta(tmp_path)
