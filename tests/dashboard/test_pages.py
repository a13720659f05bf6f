from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from lop.analysis.colours import COLOURS
from lop.dashboard.board import Board, look
from lop.dashboard.draw import band_shapes
from lop.dashboard.library import Library
from lop.dashboard.pages import PAGES
from lop.dashboard.pages.one_run import slipperiness
from lop.dashboard.site import exported
from lop.dashboard.view import Curve
from lop.run.reader import read_run


def view(library, page: str, **query: list[str]):
    return look(PAGES[page], library, query)[1]


def labels(chart) -> list[str]:
    return [curve.label for curve in chart.curves]


def test_the_overview_has_a_curve_per_variation_in_its_algorithms_colour(library):
    found = view(library, "runs")
    assert [chart.title for chart in found.charts] == ["Return", "Dead units", "Mean margin", "Rank (srank)"]
    for chart in found.charts:
        assert labels(chart) == ["ant/std (3 seeds)", "ant/cbp (3 seeds)"]
        assert [curve.colour for curve in chart.curves] == [COLOURS["std"], COLOURS["cbp"]]


def test_the_curve_is_the_mean_over_seeds_of_what_the_files_hold(library, runs):
    curve = view(library, "runs", metric=["margin/mean_margins"], layer=["1"]).charts[0].curves[1]
    key = "margin/mean_margins/layer_1"
    expected = np.mean([read_run(runs / f"ant/cbp/seed_{s}").metrics[key] for s in range(3)], axis=0)
    np.testing.assert_allclose(curve.y, expected)
    assert curve.x.tolist() == [2048 * i for i in range(1, 121)]


def test_a_percentage_is_of_the_layers_units_and_the_mean_is_over_layers(library, runs):
    curve = view(library, "runs", metric=["margin/dead_counts"], by=["run"]).charts[0].curves[0]
    metrics = read_run(runs / "ant/std/seed_0").metrics
    share = metrics["margin/dead_counts/layer_0"] / 16 + metrics["margin/dead_counts/layer_1"] / 12
    np.testing.assert_allclose(curve.y, 100 * share / 2)


def test_a_layer_that_only_some_runs_have_is_a_percentage_of_each_runs_own(synthetic, tmp_path):
    for seed, layers in ((0, (8,)), (1, (8, 4))):
        run = synthetic.Synthetic(tmp_path, "ant", "std", seed, planned=20, layers=layers)
        run.advance(3)
        run.end()
    library = Library(tmp_path)
    library.look()
    (curve,) = view(library, "runs", metric=["margin/dead_counts"], layer=["1"]).charts[0].curves
    expected = read_run(tmp_path / "ant/std/seed_1").metrics["margin/dead_counts/layer_1"] / 4 * 100
    np.testing.assert_allclose(curve.y, expected)


def test_the_band_stops_where_the_stopped_seed_does(library):
    std, cbp = view(library, "runs").charts[1].curves
    assert np.isfinite(std.low).sum() == 60 and len(std.x) == 120
    assert np.isfinite(cbp.low).all()


def test_filters_and_groups(library):
    assert labels(view(library, "runs", env=["sant"], algo=["cbp"]).charts[0]) == ["sant/cbp (3 seeds)"]
    assert len(view(library, "runs", env=["all"]).charts[0].curves) == 4
    assert labels(view(library, "runs", by=["algo"]).charts[0]) == ["ant std (3 seeds)", "ant cbp (3 seeds)"]
    singles = view(library, "runs", by=["run"], variation=["ant/std"]).charts[0]
    assert labels(singles) == [f"ant/std/seed_{s} (1 seed)" for s in range(3)]
    assert labels(view(library, "runs", env=["nonsense"], stat=["<b>"], points=["-1"], layer=["99"]).charts[0])


def test_the_table_says_how_far_each_run_is(library):
    rows = {row[0].text: [cell.text for cell in row] for row in view(library, "runs").table.rows}
    assert rows["ant/std/seed_2"][1:3] == ["finished", "123 k of 246 k"]
    assert "/" in rows["ant/std/seed_2"][4]


def test_one_run_has_a_line_per_layer_and_frictions_behind(library):
    found = view(library, "run", run=["sant/std/seed_0"])
    counts = {chart.title: len(chart.curves) for chart in found.charts}
    assert counts == {
        "Return": 1,
        "Dead units": 2,
        "At-risk units": 2,
        "Mean margin": 2,
        "Rank (srank)": 2,
        "Weight magnitude": 3,
    }
    spans = found.charts[0].spans
    assert [(span.begin, span.end) for span in spans] == [(0, 81920), (81920, 163840), (163840, 245760)]
    assert spans[1].label.startswith("task 1, friction ")
    assert not view(library, "run", run=["ant/std/seed_0"]).charts[0].spans


def test_the_critic_has_curves_of_its_own_where_it_was_watched(library, synthetic, tmp_path):
    assert labels_of_choice(library, "ant/std/seed_0") == ["actor"]
    run = synthetic.Synthetic(tmp_path, "ant", "std", 0, planned=20, layers=(8, 4))
    for update in (1, 2):
        layers = {f"margin/mean_margins/layer_{i}": update + 10.0 * i for i in (0, 1)}
        dead = {f"margin/dead_counts/layer_{i}": 2.0 for i in (0, 1)}
        both = {network + key: value for network in ("", "critic/") for key, value in (layers | dead).items()}
        critic = {"critic/margin/mean_margins/layer_1": -7.0 * update, "val_weights/layer_2": 0.06}
        step = update * synthetic.STEPS
        run.store.append_metrics({"global_step": step, "update": update, "pol_weights/layer_2": 0.05} | both | critic)
    run.end()
    watched = Library(tmp_path)
    watched.look()
    assert labels_of_choice(watched, "ant/std/seed_0") == ["actor", "critic"]
    charts = {chart.title: chart for chart in view(watched, "run", network=["critic/"]).charts}
    dead, margins, weights = (
        charts[f"{title} (critic)"] for title in ("Dead units", "Mean margin", "Weight magnitude")
    )
    assert [curve.y.tolist() for curve in dead.curves] == [[25.0, 25.0], [50.0, 50.0]]  # % of 8 and of 4 units
    assert [curve.y.tolist() for curve in margins.curves] == [[1.0, 2.0], [-7.0, -14.0]]
    assert weights.curves[-1].y.tolist() == [0.06, 0.06]


def labels_of_choice(library, run: str) -> list[str]:
    return next(
        [text for _, text in f.options] for f in PAGES["run"].form(library, {"run": [run]}) if f.name == "network"
    )


def test_slipperiness_is_logarithmic():
    assert slipperiness(0.02) == 1 and slipperiness(2.0) == 0 and slipperiness(0.2) == pytest.approx(0.5)
    assert slipperiness(float("nan")) == 0


def test_the_heat_map_holds_the_margins_of_the_unit_named_in_each_row(library, runs):
    (heat,) = view(library, "units", run=["ant/std/seed_0"], layer=["1"]).charts
    margins = read_run(runs / "ant/std/seed_0").unit_field("margin", layer=1)
    assert sorted(heat.units.tolist()) == list(range(12))
    np.testing.assert_array_equal(heat.values, margins.T[heat.units])
    events = read_run(runs / "ant/std/seed_0").events
    assert len(heat.events) == (events["layer"] == 1).sum() > 0
    for step, row, text, death in heat.events:
        assert text.startswith(f"unit {heat.units[row]} {'died' if death else 'revived'}")
        assert (margins[int(step) // 2048 - 1, heat.units[row]] <= 0) == death


def test_tasks_show_both_ends_and_count_deaths(library, runs):
    found = view(library, "tasks", layer=["0"])
    assert labels(found.charts[0])[:2] == ["sant/std (3 seeds), start of task", "sant/std (3 seeds), end of task"]
    rows = [read_run(runs / f"sant/std/seed_{s}").tasks for s in range(3)]
    key = "margin/mean_margins/layer_0"
    ends = [[row[key] for row in run if row["event"] == "end"] for run in rows]
    np.testing.assert_allclose(found.charts[0].curves[1].y, np.mean(ends, axis=0))
    bars = found.charts[1].bars[0]
    events = [read_run(runs / f"sant/std/seed_{s}").events for s in range(3)]
    deaths = [[((e["kind"] == 0) & (e["layer"] == 0) & (e["task"] == k)).sum() for k in range(3)] for e in events]
    np.testing.assert_allclose(bars.y, np.mean(deaths, axis=0))


def test_compare_has_the_published_panels_and_where_each_algorithm_ended(library):
    found = view(library, "compare")
    titles = ["Return", "Dormant units (active ≤ 1 %)", "Rank (srank)", "Weight magnitude"]
    assert [chart.title for chart in found.charts] == titles
    assert len(view(library, "compare", env=["all"]).charts) == 8
    names = [(row[0].text, row[1].text) for row in found.table.rows]
    assert names == [("ant/std", "3"), ("ant/cbp", "3")]
    low, high = (float(n.replace(",", "")) for n in found.table.rows[0][4].text.split(" to "))
    assert low <= float(found.table.rows[0][3].text.replace(",", "")) <= high


def test_a_band_with_a_gap_is_two_shapes():
    nan = np.nan
    low = np.array([0.0, 0, nan, 0, 0, nan, 0])
    curve = Curve("", np.arange(7.0), low, "#000000", low, low + 1)
    shapes = band_shapes(curve)
    assert [xs.tolist() for xs, _ in shapes] == [[0, 1, 1, 0], [3, 4, 4, 3]]
    assert shapes[0][1].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_saved(library, page):
    query = {"run": ["sant/std/seed_0"]}
    assert exported(PAGES[page], library, query, "png").startswith(b"\x89PNG")
    if page == "units":  # one is enough: the charts of all are drawn by the same function
        assert exported(PAGES[page], library, query, "pdf").startswith(b"%PDF")
    rows = list(csv.DictReader(io.StringIO(exported(PAGES[page], library, query, "csv"))))
    assert len(rows) > 10 and all(float(row["x"]) >= 0 for row in rows)
    text = exported(PAGES[page], library, query, "html")
    assert "Bokeh" in text and "<form" not in text


def test_csv_holds_the_numbers_of_the_curves(library):
    curve = view(library, "runs").charts[2].curves[0]
    rows = csv.DictReader(io.StringIO(exported(PAGES["runs"], library, {}, "csv")))
    found = [float(r["y"]) for r in rows if (r["chart"], r["series"]) == ("Mean margin", curve.label)]
    np.testing.assert_allclose(found, curve.y, rtol=1e-8)


def test_a_refresh_sends_what_is_new_and_keeps_the_plots(growing, tmp_path):
    library = Library(tmp_path / "runs")
    library.look()
    board = Board(PAGES["runs"], library, {})
    drawn, plot = board.charts.children, board._plots[0]
    growing.advance(5)
    library.look()
    board.refresh()
    assert board.charts.children is drawn or board.charts.children == drawn
    assert len(plot._lines.data["xs"][0]) == 13  # 15 updates, of which every seventh ends no episode


def test_names_from_the_disk_are_escaped(growing, tmp_path):
    (tmp_path / "runs/ant").rename(tmp_path / "runs/<img src=x>")
    library = Library(tmp_path / "runs")
    library.look()
    board = Board(PAGES["runs"], library, {})
    assert "<img" not in board.legend.text + board.table.text + board.remarks.text
    assert "&lt;img src=x&gt;" in board.table.text
    assert "<img src=x>" not in exported(PAGES["runs"], library, {}, "html")
    (tmp_path / "runs/<img src=x>").rename(tmp_path / "runs/ant")
