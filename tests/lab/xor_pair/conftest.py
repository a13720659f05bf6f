"""Rows of the published strategies, 4000 runs each, trained once a session (about 6 s)."""

from __future__ import annotations

import pandas as pd
import pytest

from lop.lab.xor_pair.measures import run_rows
from lop.lab.xor_pair.published import PUBLISHED
from lop.lab.xor_pair.strategies import strategy


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    found = []
    for name in PUBLISHED:
        chosen = strategy(name)
        begun = chosen.start(0, 4000)
        found.append(run_rows(chosen, begun, chosen.train(begun)))
    return pd.concat(found, ignore_index=True)
