from __future__ import annotations

import numpy as np
import pytest

from lop.dashboard import strip as module
from lop.dashboard.pages.units import arrange
from lop.dashboard.strip import Strip
from lop.run.records import Records
from lop.run.tables import EVENTS, UNIT_FIELDS, units_dtype


class Units:
    """A units file of 2 + 1 units, where the margin of every unit is the update's number."""

    def __init__(self, path) -> None:
        meta = {"layers": [2, 1], "fields": UNIT_FIELDS}
        self.file, self.update = Records(path, "units", units_dtype([2, 1]), meta), 0

    def add(self, count: int) -> None:
        records = np.zeros(count, self.file.dtype)
        updates = np.arange(self.update + 1, self.update + count + 1)
        records["update"], records["global_step"] = updates, updates * 10
        records["values"][:, 0] = updates[:, None]
        self.file.append(records)
        self.file.flush()
        self.update += count


@pytest.fixture
def units(tmp_path):
    made = Units(tmp_path / "units")
    yield made
    made.file.close()


def test_columns_are_every_stride_th_update_while_the_file_grows(units, monkeypatch):
    monkeypatch.setattr(module, "MAX_COLUMNS", 8)
    strip = Strip(units.file.path)
    assert not strip.poll()
    for count in (3, 5, 1, 40, 0, 7):
        units.add(count)
        assert strip.poll()
        stride = next(s for s in (1, 2, 4, 8, 16) if units.update <= 8 * s)
        assert strip.stride == stride
        expected = np.arange(1, units.update + 1, stride)
        assert strip.steps.tolist() == (expected * 10).tolist()
        assert strip.values("margin").tolist() == np.repeat(expected[:, None], 3, axis=1).tolist()


def test_a_file_cut_back_is_read_again(units):
    units.add(6)
    strip = Strip(units.file.path)
    strip.poll()
    units.file.cut(units.file.start + 2 * units.file.dtype.itemsize)
    units.update = 70
    units.add(5)
    strip.poll()
    assert strip.values("margin")[:, 0].tolist() == [1, 2, 71, 72, 73, 74, 75]


def test_what_is_no_units_file_shows_nothing(tmp_path):
    (tmp_path / "units").write_bytes(b"{}\n")
    assert not Strip(tmp_path / "units").poll()
    assert not Strip(tmp_path / "missing").poll()


def test_units_are_sorted_by_time_of_death():
    # unit 0 lives (last margin 2), 1 died at 30, 2 died at 10 and 50, 3 died at 5 and revived, 4 lives (1), 5 never fired
    margins = np.array([[2.0, 1, 1, 1, 1, -1], [2.0, -1, -1, 0.5, 1, -1]])
    happened = [(5, 3, 0), (8, 3, 1), (10, 2, 0), (20, 2, 1), (30, 1, 0), (50, 2, 0)]
    events = np.zeros(len(happened), EVENTS)
    events["global_step"], events["unit"], events["kind"] = zip(*happened, strict=True)
    steps = np.array([1, 60])
    assert arrange(margins, steps, events, "death").tolist() == [5, 1, 2, 3, 4, 0]
    assert arrange(margins, steps, events, "margin").tolist() == [1, 2, 5, 3, 4, 0]
    assert arrange(margins, steps, events, "unit").tolist() == list(range(6))
