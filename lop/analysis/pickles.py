"""Pickles of the published code, read without running anything that is in them, and written so that old numpy reads them.

A pickle is a program; ours knows no functions but those that rebuild numpy arrays and torch tensors. Whatever else a file
asks for is refused, and named.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lop.run.files import RunError, disk

# the published code runs on numpy 1, which knows no numpy._core
_OLD_HOME = b"numpy.core.multiarray"
_reconstruct = np.zeros(0).__reduce__()[0]
_scalar = np.float64(0).__reduce__()[0]


def _storage_from(data: bytes) -> Any:
    """A torch storage; torch's own way of reading one inside a pickle would unpickle it without any restriction."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


_frombuffer = pickle.loads(pickle.dumps(np.zeros(1), protocol=5)).__reduce_ex__(5)[0]
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage_from,
}
for _core in ("numpy.core", "numpy._core"):
    _KNOWN |= {(f"{_core}.multiarray", "_reconstruct"): _reconstruct, (f"{_core}.multiarray", "scalar"): _scalar}
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            known = _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of an array") from None
        # a pickle may set attributes of what it got: of the classes it cannot, and a function is a copy to throw away
        return known if isinstance(known, type) else lambda *values: known(*values)


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """What is in a pickle of plain Python values, numpy arrays and torch tensors. Errors: RunError."""
    with disk("read", path):
        data = Path(path).read_bytes()
    try:
        return _ArraysOnly(io.BytesIO(data)).load()
    # a damaged pickle fails in any way it likes
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise RunError(f"{os.fspath(path)} is not loaded: {text or type(error).__name__}") from error


class _ForOldNumpy(pickle._Pickler):
    """Protocol 4 without numpy._core. The pure-Python pickler is the one whose globals can be named otherwise."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if obj is _reconstruct:
            self.write(pickle.GLOBAL + _OLD_HOME + b"\n_reconstruct\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)


def to_pickle(value: Any) -> bytes:
    """A pickle (protocol 4) of plain Python values, numpy arrays and torch tensors that numpy 1 and 2 read."""
    file = io.BytesIO()
    _ForOldNumpy(file, protocol=4).dump(value)
    return file.getvalue()
