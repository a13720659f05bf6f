"""The command: every figure drawn, one page that asks for nothing, a summary with the numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lop.analysis
from lop.analysis import figures, style
from lop.analysis.__main__ import main
from lop.analysis.colours import COLOURS, OTHERS, colour_of, in_order
from lop.analysis.curves import curves
from lop.analysis.report import Report, cell
from lop.analysis.scores import scores, summary


@pytest.fixture(scope="module")
def written(runs_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "figures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 60)  # a second less per figure
        assert main([str(runs_folder), "--out", str(out), "--bin-steps", "20480"]) == 0
    return out


def test_every_figure_is_there_twice_and_shows_data(written):
    names = {path.stem for path in written.glob("*.png")}
    both = {
        f"{env}_{name}" for env in ("ant", "sant") for name in ("published", "deaths", "margins", "layers", "profile")
    }
    assert names >= both | {"sant_tasks", "sant_plasticity", "ant_roc", "ant_death_times", "ant_phases"}
    assert {path.stem for path in written.glob("*.pdf")} == names
    for name in names:
        pixels = np.asarray(Image.open(written / f"{name}.png").convert("RGB")).reshape(-1, 3)
        # more than paper, ink and grid: some line has a colour
        assert (np.ptp(pixels.astype(int), axis=1) > 60).sum() > 50, name


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.links += [value for key, value in attributes if key in ("src", "srcset", "href", "data", "action")]
        assert tag not in ("script", "iframe", "link", "object")


def test_the_report_asks_for_nothing_from_outside(written):
    text = (written / "report.html").read_text()
    links = Links()
    links.feed(text)
    assert links.links
    assert all(link.startswith("data:image/png;base64,") for link in links.links)
    assert not re.search(r"url\(|@import", text)
    assert len(links.links) == 2 * len(list(written.glob("*.png")))


def test_the_summary_has_the_numbers_of_the_table(written, runs_folder):
    text = (written / "summary.md").read_text()
    runs = lop.analysis.load(runs_folder)
    table = summary(scores(curves(runs, width=20_480), runs)).set_index(["env", "label"])
    stored = pd.read_csv(written / "returns_final.csv").set_index(["env", "label"])
    np.testing.assert_allclose(stored.loc[("ant", "cbp"), "mean"], table.loc[("ant", "cbp"), "mean"])
    assert (
        f"| ant | cbp | 3 | {int(table.loc[('ant', 'cbp'), 'steps']):,} | {cell(table.loc[('ant', 'cbp'), 'mean'])} |"
        in text
    )
    assert "too few seeds" in text
    assert "ant_published.png" in text


def test_captions_name_seeds_interval_and_smoothing(runs_folder):
    runs = lop.analysis.load(runs_folder).where(env="ant")
    from lop.analysis import quantities

    frame = quantities.derive(curves(runs, *quantities.KEYS), runs)
    drawing = next(figures.step_figures(frame))
    for words in (
        "std (n = 4), cbp (n = 3), l2 (n = 2)",
        "95 % percentile bootstrap",
        "bins of 10k steps",
        "2,000 resamples",
    ):
        assert words in drawing.caption.replace("\u00a0", " ")
    labels = [text.get_text().replace("\u00a0", " ") for text in drawing.figure.legends[0].get_texts()]
    assert labels == ["std (n = 4)", "cbp (n = 3)", "l2 (n = 2)"]
    # the legend and the caption lie off the data
    drawing.figure.draw_without_rendering()
    legend = drawing.figure.legends[0].get_window_extent()
    for axes in drawing.figure.axes:
        assert not axes.get_window_extent().overlaps(legend)
        assert not axes.get_window_extent().overlaps(drawing.figure._supxlabel.get_window_extent())


@pytest.mark.parametrize("panels", [1, 2])
@pytest.mark.parametrize("label", ["std", "cbp-maturity=1000"])
def test_a_legend_stays_within_its_figure(panels, label):
    labels = {f"{label}{i} (n = 30)": "#112233" for i in range(7)}
    figure = style.Sheet("name", "title", panels).finish(labels, "caption").figure
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_an_axis_is_cut_where_few_values_lie_far_off():
    axes = style.Sheet("name", "title", 1).panels[0]
    values = np.linspace(0, 10, 100)
    assert not style.cut_outliers(axes, values)
    assert style.cut_outliers(axes, np.append(values, [-7000, np.nan]))
    low, high = axes.get_ylim()
    assert -10 < low < 0 < 10 < high < 20


def test_a_run_that_is_much_shorter_is_named_and_not_scored(synthetic, tmp_path):
    for seed, updates in enumerate((100, 100, 20)):
        synthetic(seed=seed, updates=updates).write(tmp_path)
    runs = lop.analysis.load(tmp_path)
    table = scores(curves(runs), runs)
    assert set(table["seed"]) == {0, 1}
    assert "seed_2: 40,960 steps, less than half of the longest of ant: not scored" in runs.left_out[0]


def test_the_final_return_is_that_of_the_episodes_of_the_last_tenth_however_wide_the_bins(synthetic, tmp_path):
    synthetic(seed=0, updates=100).write(tmp_path)
    synthetic(seed=1, updates=90).write(tmp_path)
    runs = lop.analysis.load(tmp_path)
    table = scores(curves(runs, width=50_000), runs).set_index("seed")
    steps = 90 * 2048  # of the shorter one
    for seed in (0, 1):
        episodes = runs.where(seed=seed).episodes()
        last = episodes[(episodes["global_step"] > 0.9 * steps) & (episodes["global_step"] <= steps)]
        assert len(last) and table.loc[seed, "final"] == pytest.approx(last["return"].mean())
        assert table.loc[seed, "steps"] == steps


def test_a_very_young_run_gives_a_report_and_no_traceback(synthetic, tmp_path, capsys):
    synthetic(updates=1).write(tmp_path / "runs")
    synthetic(algo="cbp", updates=0, planned=10).write(tmp_path / "runs")
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "figures")]) == 0
    assert "less than one bin" in (tmp_path / "figures" / "summary.md").read_text()
    assert "note: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "the following arguments are required: runs"),
        (["nowhere"], "nowhere is not a folder"),
        (["RUNS", "--env", "hopper"], "--env hopper: the runs below .* are of ant, sant"),
        (["RUNS", "--bin-steps", "0"], "--bin-steps 0: must be at least 1"),
        (["RUNS", "--export", "a", "--import-logs", "b"], "give one of the two"),
        (["RUNS", "--out", "FILE"], "cannot make the folder"),
    ],
)
def test_wrong_inputs_are_one_line(words, text, runs_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    places = {"RUNS": str(runs_folder), "FILE": str(tmp_path / "file")}
    try:
        code = main([places.get(word, word) for word in words])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("error: ")
    assert re.search(text, said.err)


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def test_a_picture_that_cannot_be_written_is_one_line(runs_folder, tmp_path, capsys):
    (tmp_path / "ant_profile.pdf").mkdir()
    assert main([str(runs_folder), "--out", str(tmp_path), "--env", "ant", "--no-units"]) == 2
    assert re.fullmatch(r"error: cannot write figures into .*: Is a directory\n", capsys.readouterr().err)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira & Fernandes 2009, table 1, severity 1
SEEN_BY = {
    "everyone": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("who", SEEN_BY)
def test_the_algorithms_can_be_told_apart(who):
    seen = [lab(np.array(SEEN_BY[who]) @ linear(colour)) for colour in COLOURS.values()]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) >= 25


@pytest.mark.parametrize("colour", [*COLOURS.values(), *OTHERS])
def test_colours_stand_out_on_light_and_on_dark_paper(colour):
    light, dark, own = (luminance(c) + 0.05 for c in (style.PAPER, style.DARK_PAPER, colour))
    assert light / own >= 3
    assert own / dark >= 3


def test_an_unknown_algorithm_has_a_colour_of_its_own_and_the_order_is_that_of_the_publications():
    shown = ["zeta", "cbp", "alpha", "std"]
    assert in_order(shown) == ["std", "cbp", "alpha", "zeta"]
    assert len({colour_of(algo, shown) for algo in shown}) == 4
    assert colour_of("cbp", shown) == colour_of("cbp")


def test_texts_in_the_page_are_escaped():
    report = Report("<b>")
    report.items(["<script>alert(1)</script>"])
    report.table(pd.DataFrame({"a|b": ["<i>"], "c": [float("nan")]}))
    assert "<script>" not in report.html()
    assert "<i>" not in report.html()
    assert "| <i> | – |" in report.markdown()
    assert "a∣b" in report.markdown()
