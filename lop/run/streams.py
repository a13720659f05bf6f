"""Addressed random streams: a generator is a function of (seed, purpose, counter), never of what was drawn before.

`stream(3, "action_noise", update)` is the same numbers in any process, in any order of calls, after any kill: there
is no generator state to save. Philox4x64 is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"); its key is (seed, stable hash of purpose), its upper three counter words are the caller's address.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

MAX_COUNTERS = 3


@functools.cache
def _purpose_key(purpose: str) -> int:
    # not hash(): that one is salted per process
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def stream(seed: int, purpose: str, *counter: int) -> np.random.Generator:
    """A generator addressed by a run seed, a purpose and up to three non-negative counters.

    Every address owns 2**64 blocks of four 64-bit words, so that no two addresses overlap.
    """
    if seed < 0 or any(c < 0 for c in counter):
        raise ValueError(f"seed and counters must be >= 0, got seed={seed}, counter={counter}")
    if len(counter) > MAX_COUNTERS:
        raise ValueError(f"at most {MAX_COUNTERS} counters, got {counter}")
    words = [0, *counter, *([0] * (MAX_COUNTERS - len(counter)))]
    key = np.array([seed, _purpose_key(purpose)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=np.array(words, dtype=np.uint64), key=key))
