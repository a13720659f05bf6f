"""Checkpoints: named numpy arrays and a small JSON meta in one file that is whole and checked, or not there.

    magic and version (8 bytes) | sha256 of the payload (32 bytes) | payload: safetensors, meta in its __metadata__

Loading runs no code (no pickle), and any flipped or missing byte is noticed. `save_checkpoint` keeps the checkpoint
before as `checkpoint.previous`; at no moment is `checkpoint` missing or half-written. `write_tensors` is for
snapshots: the payload alone, a plain .safetensors file that any tool opens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from lop.run.files import RunError, disk, removed_on_error, sync_folder, write_atomic, write_synced

CHECKPOINT = "checkpoint"
PREVIOUS = "checkpoint.previous"
MAGIC = b"lopckpt"
VERSION = 1
HEADER_BYTES = len(MAGIC) + 1 + hashlib.sha256().digest_size
MAX_PEEK_BYTES = 1 << 24

Tensors = dict[str, np.ndarray]


class CheckpointError(RunError):
    """No checkpoint in the folder can be used; the text says which file and why."""


@dataclass(frozen=True)
class Checkpoint:
    """Arrays by name, and whatever JSON was saved beside them."""

    tensors: Tensors
    meta: dict[str, Any]


def save_checkpoint(
    folder: str | os.PathLike[str],
    tensors: Tensors,
    meta: dict[str, Any],
    fence: Callable[[], None] | None = None,
) -> None:
    """Replaces `folder/checkpoint` atomically; the one before stays as `checkpoint.previous`.

    tensors: arrays of bool, (u)int or float16/32/64, any shape. meta: JSON; dictionary keys become text.
    fence: called when all is written and only the rename is left; what it raises leaves the checkpoints alone.
    Errors: RunError (disk); the checkpoints are then what they were.
    """
    current = Path(folder) / CHECKPOINT
    temporary = current.with_name(CHECKPOINT + ".tmp")
    payload = _pack(tensors, meta)
    header = MAGIC + bytes([VERSION]) + hashlib.sha256(payload).digest()
    with disk("write", current), removed_on_error(temporary):
        write_synced(temporary, header, payload)
        if fence:
            fence()
        _keep_previous(current)
        os.replace(temporary, current)
    sync_folder(current.parent)


def load_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint | None:
    """The newest sound checkpoint of `folder`; None if there never was one.

    A damaged `checkpoint` falls back to `checkpoint.previous` with a warning. Errors: CheckpointError if none is sound.
    """
    current, previous = Path(folder) / CHECKPOINT, Path(folder) / PREVIOUS
    reasons = [] if os.path.lexists(current) else [f"{current}: missing"]
    for path in filter(os.path.lexists, (current, previous)):
        try:
            checkpoint = Checkpoint(*_unpack(_checked_payload(path), path))
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        if path == previous:
            warnings.warn(f"{reasons[0]}; going on from {previous.name}", stacklevel=2)
        return checkpoint
    if not os.path.lexists(current) and not os.path.lexists(previous):
        return None
    raise CheckpointError("no usable checkpoint: " + "; ".join(reasons))


def peek_meta(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The meta of `folder/checkpoint` without its arrays and unchecked, for lists of many runs; None if there is none.

    Errors: CheckpointError for what is no checkpoint of ours; a flipped byte among the arrays is not noticed.
    """
    path = Path(folder) / CHECKPOINT
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER_BYTES + 8)
            header = file.read(min(int.from_bytes(start[HEADER_BYTES:], "little"), MAX_PEEK_BYTES))
        if start[: len(MAGIC) + 1] != MAGIC + bytes([VERSION]):
            raise CheckpointError(f"{path}: not a checkpoint of format version {VERSION}")
        return json.loads(json.loads(header)["__metadata__"]["meta"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not readable ({error})") from error


def write_tensors(path: str | os.PathLike[str], tensors: Tensors, meta: dict[str, Any] | None = None) -> None:
    """Writes a plain .safetensors file, atomically; the same input gives the same bytes. Errors: RunError."""
    write_atomic(Path(path), _pack(tensors, meta or {}))


def read_tensors(path: str | os.PathLike[str]) -> Checkpoint:
    """Arrays and meta of a file that `write_tensors` wrote. Errors: RunError (missing), CheckpointError (damaged)."""
    with disk("read", path):
        payload = Path(path).read_bytes()
    return Checkpoint(*_unpack(payload, Path(path)))


def _pack(tensors: Tensors, meta: dict[str, Any]) -> bytes:
    # safetensors reads memory by address: only C-contiguous arrays mean what they say
    dense = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    for name, array in dense.items():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(
                f"tensor {name!r}: dtype {array.dtype} cannot be saved (bool, int, uint, float16/32/64 can)"
            )
    # one metadata key only: with several, safetensors' order of keys differs from process to process
    return safetensors.numpy.save(dense, {"meta": json.dumps(meta, sort_keys=True)})


def _unpack(payload: bytes, path: Path) -> tuple[Tensors, dict[str, Any]]:
    try:
        views = safetensors.numpy.load(payload)
        header_bytes = int.from_bytes(payload[:8], "little")
        meta = json.loads(json.loads(payload[8 : 8 + header_bytes])["__metadata__"]["meta"])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not readable as safetensors with a meta ({error})") from error
    return {name: np.array(view) for name, view in views.items()}, meta


def _checked_payload(path: Path) -> bytes:
    """The payload, after comparing its checksum. Errors: CheckpointError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    if not (data.startswith(MAGIC) and len(data) >= HEADER_BYTES):
        raise CheckpointError(f"{path}: not a checkpoint, or its beginning is damaged ({len(data)} bytes)")
    if data[len(MAGIC)] != VERSION:
        raise CheckpointError(f"{path}: format version {data[len(MAGIC)]}, this program reads {VERSION}")
    payload = data[HEADER_BYTES:]
    if hashlib.sha256(payload).digest() != data[len(MAGIC) + 1 : HEADER_BYTES]:
        raise CheckpointError(f"{path}: checksum does not match (damaged or cut short, {len(data)} bytes)")
    return payload


def _keep_previous(current: Path) -> None:
    """Makes `checkpoint.previous` the present checkpoint, unless that one is damaged: then the older is worth more."""
    try:
        _checked_payload(current)
    except CheckpointError:
        return
    temporary = current.with_name(PREVIOUS + ".tmp")
    temporary.unlink(missing_ok=True)
    with removed_on_error(temporary):
        _link_or_copy(current, temporary)
        os.replace(temporary, current.with_name(PREVIOUS))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # file systems without hard links
        shutil.copyfile(source, target)
        with open(target, "rb") as copy:
            os.fsync(copy.fileno())
