from __future__ import annotations

import os

import numpy as np
import orjson
import pytest

from lop.dashboard.tail import RecordTail, RowTail, parse, sample_rows
from lop.run.records import JsonLines, Records


def line(step: int, **values: object) -> bytes:
    return orjson.dumps({"format": 1, "global_step": step, **values}) + b"\n"


def steps(rows: list[dict]) -> list[int]:
    return [row["global_step"] for row in rows]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_rows_come_once_each_whatever_the_pieces_they_are_written_in(path):
    content = b"".join(line(i, value=i / 7) for i in range(50))
    tail, found = RowTail(path), []
    random = np.random.default_rng(0)
    with path.open("wb", buffering=0) as file:
        while content:
            size = int(random.integers(1, 60))
            file.write(content[:size])
            content = content[size:]
            rows, anew = tail.poll()
            assert not anew
            found += steps(rows)
    assert found == list(range(50))


def test_at_most_the_asked_bytes_are_read_at_a_time(path):
    path.write_bytes(b"".join(line(i) for i in range(9)))
    tail = RowTail(path)
    first, _ = tail.poll(max_bytes=2 * len(line(0)) + 5)
    assert steps(first) == [0, 1]
    assert steps(tail.poll()[0]) == list(range(2, 9))


def test_no_file_has_no_rows_until_there_is_one(path):
    tail = RowTail(path)
    assert tail.poll() == ([], False)
    path.write_bytes(line(1))
    assert steps(tail.poll()[0]) == [1]


def test_a_file_cut_back_is_read_again(path):
    path.write_bytes(line(1) + line(2) + line(3))
    tail = RowTail(path)
    tail.poll()
    os.truncate(path, len(line(1)))
    rows, anew = tail.poll()
    assert anew and steps(rows) == [1]


def test_a_file_cut_back_and_grown_beyond_with_other_rows_is_read_again(path):
    path.write_bytes(line(1) + line(2))
    tail = RowTail(path)
    tail.poll()
    path.write_bytes(line(1) + line(5) + line(6))
    rows, anew = tail.poll()
    assert anew and steps(rows) == [1, 5, 6]


def test_a_file_put_in_its_place_is_read_from_its_beginning(path):
    path.write_bytes(line(1))
    tail = RowTail(path)
    tail.poll()
    other = path.with_name("other")
    other.write_bytes(line(1) + line(2))
    os.replace(other, path)
    rows, anew = tail.poll()
    assert anew and steps(rows) == [1, 2]


def test_a_damaged_row_is_counted_and_passed_over(path):
    path.write_bytes(line(1) + b'{"format":1,"global_\n' + b"[1]\n" + b'{"format":9,"global_step":3}\n' + line(4))
    tail = RowTail(path)
    assert steps(tail.poll()[0]) == [1, 4]
    assert tail.damaged == 3


def test_rows_are_those_of_the_store(path):
    file = JsonLines(path)
    file.append({"global_step": 1, "value": float("nan"), "other": float("inf")})
    file.flush()
    (row,), _ = RowTail(path).poll()
    assert np.isnan(float(row["value"])) and float(row["other"]) == np.inf
    file.close()


def test_records_grow_and_are_read_again_when_cut_back(tmp_path):
    dtype = np.dtype([("step", "<i8"), ("value", "<f4")])
    file = Records(tmp_path / "events", "events", dtype)
    tail = RecordTail(file.path)
    assert len(tail.poll()) == 0
    for begin, end in ((0, 3), (3, 4), (4, 4), (4, 9)):
        new = np.zeros(end - begin, dtype)
        new["step"] = np.arange(begin, end)
        file.append(new)
        file.flush()
        assert tail.poll()["step"].tolist() == list(range(end))
    file.cut(file.start + 2 * dtype.itemsize)
    assert tail.poll()["step"].tolist() == [0, 1]
    file.close()


def test_a_torn_record_waits(tmp_path):
    dtype = np.dtype([("step", "<i8")])
    file = Records(tmp_path / "events", "events", dtype)
    file.append(np.zeros(2, dtype))
    file.close()
    with file.path.open("ab") as raw:
        raw.write(b"abc")
    tail = RecordTail(file.path)
    assert len(tail.poll()) == 2
    with file.path.open("ab") as raw:
        raw.write(b"defgh")
    assert len(tail.poll()) == 3


def test_what_is_no_file_of_records_has_none(tmp_path):
    (tmp_path / "events").write_bytes(b"something else\n")
    assert len(RecordTail(tmp_path / "events").poll()) == 0


def test_a_sample_of_a_long_file_spans_it_and_ends_where_it_says(path):
    content = b"".join(line(i, pad="x" * (i % 300)) for i in range(5000))
    path.write_bytes(content + b'{"torn')
    rows, end = sample_rows(path, 40)
    found = steps(rows)
    assert found == sorted(set(found)) and found[0] == 0 and found[-1] == 4999
    assert 40 <= len(found) <= 120
    assert max(np.diff(found)) < 3 * 5000 / 40
    assert end == len(content)


@pytest.mark.parametrize("text", [b"", b"null", b"3", b"{}", b'{"format":2}', b"\xff", b'{"format":1'])
def test_what_is_no_row_is_none(text):
    assert parse(text) is None
