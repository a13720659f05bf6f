from __future__ import annotations

import pandas as pd
import pytest

from lop.analysis import report, style
from lop.lab.xor_pair import plane_figures
from lop.lab.xor_pair.__main__ import main
from lop.lab.xor_pair.show import aligned, percent
from lop.lab.xor_pair.strategies import STRATEGIES

FIGURES = ("strategies", "timelines", "mirror_trap", "hyperplanes", "distances")
TABLES = ("success", "speed", "starts", "failures", "mirror_trap", "symmetry", "distances", "units", "clusters", "runs")


def test_a_small_study_writes_its_folder_and_prints_its_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(style, "DPI", 40)
    assert main(["--runs", "200", "--seed", "3", "--out", str(tmp_path / "new" / "folder")]) == 0
    out = tmp_path / "new" / "folder"
    for name in FIGURES:
        assert (out / f"{name}.png").stat().st_size and (out / f"{name}.pdf").stat().st_size
    for name in TABLES:
        assert len(pd.read_csv(out / f"{name}.csv"))
    assert "<html" in (out / "report.html").read_text() and "seed 3" in (out / "summary.md").read_text()
    printed = capsys.readouterr().out
    for strategy in STRATEGIES:
        assert f"\n{strategy.name}: {strategy.meaning}" in printed
    runs = pd.read_csv(out / "runs.csv")
    assert len(runs) == 200 * len(STRATEGIES)
    assert runs[runs["strategy"] == "normal"]["solved"].mean() == pytest.approx(0.47, abs=0.15)


def test_a_study_of_one_run_has_its_tables_too(tmp_path, monkeypatch):
    # figures are built, but not rendered: that takes the time
    monkeypatch.setattr(report, "save", lambda drawing, folder: (b"", b""))
    assert main(["--runs", "1", "--out", str(tmp_path)]) == 0
    assert len(pd.read_csv(tmp_path / "success.csv")) == len(STRATEGIES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runs", "0"], "--runs: 0: must be a whole number from 1 to 100000"),
        (["--runs", "1.5"], "--runs: 1.5: must be a whole number"),
        (["--seed", "-1"], "--seed: -1: must be a whole number"),
        (["--strategy", "normal"], "--strategy"),
    ],
)
def test_a_wrong_argument_gets_one_clear_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and error.count("\n") == 1


def test_a_file_in_the_place_of_the_folder_gets_one_clear_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--runs", "1", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"error: --out {tmp_path / 'file'}: is a file; give a folder\n"


def test_percentages_keep_what_matters_near_the_ends():
    assert [percent(rate) for rate in (0.472, 0.9998, 1.0, 0.0, 0.004, float("nan"))] == [
        "47.2",
        "99.98",
        "100",
        "0",
        "0.40",
        "–",
    ]


def test_a_table_on_the_terminal_has_its_first_column_left():
    assert aligned(pd.DataFrame({"name": ["a", "long"], "n": ["10", "2"]})) == "name   n\na     10\nlong   2"


def test_the_part_of_a_line_within_the_picture():
    assert plane_figures.line_within(1, 0, -0.5, reach=2) == [(0.5, -2), (0.5, 2)]
    assert plane_figures.line_within(1, 1, 0, reach=2) == [(-2, 2), (2, -2)]
    assert plane_figures.line_within(1, 0, 5, reach=2) is None
    assert plane_figures.line_within(0, 0, 1, reach=2) is None
