"""Append-only files: what goes in comes out, what is torn is passed over, what is cut is gone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lop.run.files import RunError
from lop.run.records import AppendFile, JsonLines, Records, read_jsonl, read_last_rows, read_meta, read_records

DTYPE = np.dtype([("global_step", "<i8"), ("values", "<f2", (2, 3))])


def points(*steps: int) -> np.ndarray:
    records = np.zeros(len(steps), DTYPE)
    records["global_step"] = steps
    records["values"] = np.arange(6).reshape(2, 3)
    return records


def test_rows_come_back_with_numpy_turned_plain(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "rows")
    file.append({"global_step": np.int64(3), "x": np.float32(0.1), "list": np.arange(2), "nested": {"a": (1, 2)}})
    file.close()
    # float32 0.1 is this double, exactly
    expected = {"global_step": 3, "x": 0.10000000149011612, "list": [0, 1], "nested": {"a": [1, 2]}}
    assert read_jsonl(tmp_path / "rows") == [expected]


def test_non_finite_numbers_are_recognisable_in_the_file_and_floats_again_when_read(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "rows")
    file.append({"a": math.nan, "b": [math.inf, {"c": np.float32("-inf")}], "d": "NaNa"})
    file.close()
    stored = json.loads((tmp_path / "rows").read_text())
    assert stored == {"format": 1, "a": "NaN", "b": ["Infinity", {"c": "-Infinity"}], "d": "NaNa"}
    (row,) = read_jsonl(tmp_path / "rows")
    assert math.isnan(row["a"])
    assert row["b"] == [math.inf, {"c": -math.inf}]
    assert row["d"] == "NaNa"


def test_nothing_is_written_before_flush_but_the_offset_counts_it(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "rows")
    file.append({"a": 1})
    assert (tmp_path / "rows").read_bytes() == b""
    assert file.offset == len('{"format":1,"a":1}\n')
    file.flush()
    assert (tmp_path / "rows").stat().st_size == file.offset
    file.close()


@pytest.mark.parametrize("torn", [b"{", b'{"format":1,"a":3}', b"x" * 200_000])
def test_a_torn_last_row_is_passed_over_and_gone_after_reopening(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b'{"format":1,"a":1}\n{"format":1,"a":2}\n' + torn)
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]
    file = JsonLines(path)
    file.append({"a": 3})
    file.close()
    assert path.read_bytes() == b'{"format":1,"a":1}\n{"format":1,"a":2}\n{"format":1,"a":3}\n'


def test_a_file_that_is_one_torn_row_becomes_empty(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b'{"format"')
    assert read_jsonl(tmp_path / "rows") == []
    JsonLines(tmp_path / "rows").close()
    assert (tmp_path / "rows").read_bytes() == b""


@pytest.mark.parametrize("bad", [b"junk", b"[1]", b"{}", b""])
def test_a_corrupt_row_in_the_middle_is_named_by_its_line(tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "rows").write_bytes(b'{"format":1}\n' + bad + b'\n{"format":1}\n')
    with pytest.raises(RunError, match="rows, line 2: not a row of ours"):
        read_jsonl(tmp_path / "rows")


def test_rows_of_a_newer_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b'{"format":2}\n')
    with pytest.raises(RunError, match="format version 2, this program reads 1"):
        read_jsonl(tmp_path / "rows")


def test_records_come_back_with_their_meta_and_from_any_number_on(tmp_path: Path) -> None:
    file = Records(tmp_path / "units", "units", DTYPE, {"layers": [2, 1]})
    file.append(points(1, 2))
    file.append(points(3)[0])
    file.sync()
    back = read_records(tmp_path / "units")
    assert back.dtype == DTYPE
    assert back.tobytes() == points(1, 2, 3).tobytes()
    assert read_records(tmp_path / "units", first=2)["global_step"].tolist() == [3]
    assert read_records(tmp_path / "units", first=5).size == 0
    assert read_meta(tmp_path / "units") == {"layers": [2, 1]}
    file.close()


def test_header_is_one_line_of_json_padded_to_64_bytes(tmp_path: Path) -> None:
    file = Records(tmp_path / "units", "units", DTYPE)
    header = (tmp_path / "units").read_bytes()
    assert len(header) == file.start == file.offset
    assert len(header) % 64 == 0
    assert header.count(b"\n") == 1 and header.endswith(b"\n")
    assert json.loads(header)["format"] == "lop.units"
    file.close()


@pytest.mark.parametrize("torn_bytes", [1, DTYPE.itemsize - 1])
def test_a_torn_last_record_is_passed_over_and_gone_after_reopening(tmp_path: Path, torn_bytes: int) -> None:
    path = tmp_path / "units"
    file = Records(path, "units", DTYPE)
    file.append(points(1, 2))
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b"\1" * torn_bytes)
    assert read_records(path)["global_step"].tolist() == [1, 2]
    Records(path, "units", DTYPE).close()
    assert path.read_bytes() == whole


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "units"
    Records(path, "units", DTYPE).close()
    header = path.read_bytes()
    path.write_bytes(header[:10])
    Records(path, "units", DTYPE).close()
    assert path.read_bytes() == header


def test_records_of_another_shape_are_refused(tmp_path: Path) -> None:
    Records(tmp_path / "units", "units", DTYPE).close()
    with pytest.raises(RunError, match="another format or shape"):
        Records(tmp_path / "units", "units", np.dtype([("a", "<i8")]))
    file = Records(tmp_path / "other", "units", DTYPE)
    with pytest.raises(TypeError, match="expected"):
        file.append(np.zeros(1))
    file.close()


def test_a_file_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"\xff\xfe junk\n")
    with pytest.raises(RunError, match="does not begin with a header of ours"):
        read_records(tmp_path / "junk")


def test_cut_then_append_equals_never_having_written_more(tmp_path: Path) -> None:
    straight, resumed = Records(tmp_path / "a", "u", DTYPE), Records(tmp_path / "b", "u", DTYPE)
    straight.append(points(1, 2, 3, 4))
    resumed.append(points(1, 2))
    offset = resumed.offset
    resumed.append(points(3, 9, 9, 9, 9))
    resumed.close()
    again = Records(tmp_path / "b", "u", DTYPE)
    again.append(points(77))  # what is in memory goes too
    again.cut(offset)
    assert again.offset == offset
    again.append(points(3, 4))
    straight.close()
    again.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_cutting_to_more_than_there_is_says_that_data_is_missing(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "rows")
    file.append({"a": 1})
    with pytest.raises(RunError, match=r"rows has 19 bytes, but the checkpoint counts on 100: data is missing"):
        file.cut(100)
    file.close()


def test_a_full_disk_leaves_the_file_as_it_was_and_the_buffer_for_another_try(tmp_path: Path, disk: Any) -> None:
    file = AppendFile(tmp_path / "rows")
    file._buffer += b"x" * 1000
    disk.is_full = True
    with pytest.raises(RunError, match="cannot write .*rows: No space left on device"):
        file.flush()
    assert (tmp_path / "rows").read_bytes() == b""
    disk.is_full = False
    file.close()
    assert (tmp_path / "rows").read_bytes() == b"x" * 1000


def test_closing_twice_is_allowed(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "rows")
    file.close()
    file.close()


def test_a_path_under_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot open .*: Not a directory"):
        JsonLines(tmp_path / "file" / "rows")


def test_the_last_rows_are_read_without_what_is_torn_at_either_end(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"update": i, "loss": math.nan if i == 8 else i / 2} for i in range(10)]
    file = JsonLines(path)
    for row in rows:
        file.append(row)
    file.close()
    with open(path, "ab") as end:
        end.write(b'{"format":1,"upd')
    assert repr(read_last_rows(path, 1 << 20)) == repr(rows)
    last = read_last_rows(path, 100)
    assert 1 <= len(last) < 4 and repr(last) == repr(rows[-len(last) :])
    assert read_last_rows(path, 5) == []
    path.write_bytes(b"")
    assert read_last_rows(path, 100) == []
