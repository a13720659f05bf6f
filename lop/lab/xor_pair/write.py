"""The study's folder: report.html, summary.md, figures, and every table as CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lop.analysis.report import Report, Writer
from lop.lab.xor_pair import failures, figures, hyperplanes, plane_figures, show, tables
from lop.lab.xor_pair.measures import FAILURES
from lop.lab.xor_pair.strategies import STRATEGIES


def write(rows: pd.DataFrame, seed: int, out: Path) -> None:
    """Writes everything that rows of `measures.run_rows` of all strategies say, into a folder that is there."""
    runs = len(rows) // len(STRATEGIES)
    report = Report("XOR with two ReLUs")
    writer = Writer(report, out, say=lambda _: None)
    report.text(
        "y = φ(w₁·x + b₁) + φ(w₂·x + b₂) on the points (±1, ±1), labels 0 1 1 0; MSE, full batch, Adam 0.01 (0.9, 0.99), at"
        f" most 800 epochs (monitor and bounded 2000). {runs:,} runs a strategy, seed {seed}; all strategies start from the"
        " same draws. Success: all four points right. Intervals are Wilson's, 95 %; p is Fisher's exact test against the"
        " rate recomputed earlier, or, for mirror pairs, against the published count."
    )
    _success(rows, report, writer)
    _failures(rows, report, writer)
    _geometry(rows, report, writer)
    writer.file(rows.round(6), "runs")
    writer.close()


def _success(rows: pd.DataFrame, report: Report, writer: Writer) -> None:
    success, speed = tables.success(rows), tables.speed(rows)
    report.section("Success")
    writer.draw(figures.strategies_figure(success, speed))
    writer.file(success, "success")
    report.table(show.success_text(success))
    report.items([f"{strategy.name}: {strategy.meaning}" for strategy in STRATEGIES])
    report.section("Speed")
    report.text(
        "Shares of all runs that converged (loss below 1e-7), stalled (10 epochs without a better loss) or ran out of"
        " epochs; epochs of the solved runs; median final losses; draws, nudges and bias resets a run. Many solved runs"
        " stall above 1e-7: near the goal Adam overshoots for ten epochs and is stopped, all points right."
    )
    writer.table(speed, "speed")


def _failures(rows: pd.DataFrame, report: Report, writer: Writer) -> None:
    report.section("What the start says")
    report.text(
        "A point is dead when no unit fires for it. With zero biases a class has a dead point unless the signs of w₁·x and"
        " w₂·x differ, in half of all starts, independently for the two classes."
    )
    by_start = failures.by_start(rows)
    writer.file(by_start, "starts")
    report.table(show.starts_text(by_start))
    report.section("How and when runs fail")
    writer.draw(figures.timeline_figure(rows))
    report.items([f"{kind}: {meaning}" for kind, meaning in FAILURES.items()])
    writer.table(failures.failures(rows), "failures")
    report.section("The perpendicular trap of mirror starts")
    report.text(
        "w₂ = −w₁ leaves no point dead, and yet some runs fail, all at two points right: those that start nearly"
        " perpendicular to the solution and long. A class-0 output above 1 pushes the biases down. Adam's first steps are"
        " equally long in every parameter, so the bias falls by a third of the excess before it is gone; positive points"
        " whose pre-activation is smaller than that die. Rule: ∣u∣ < (∣v∣ − 1/√2)/3. Published angles: failed 87.6 ± 1.7,"
        " solved 45.2 ± 25.6."
    )
    writer.draw(plane_figures.trap_figure(rows))
    writer.table(failures.trap(rows), "mirror_trap")


def _geometry(rows: pd.DataFrame, report: Report, writer: Writer) -> None:
    report.section("Symmetry")
    report.text(
        "Solved runs that end as mirror pairs, cos(w₁, w₂) < −0.95, as a share of all runs; perfect: within 0.001 of −1."
        " A unit solves its half wherever it gives 1 at its positive point and nothing at both class-0 points: w_x ≥ ½,"
        " w_y ≤ −½, b = 1 − w_x + w_y (or the other signs). The mirror pair ±(½, −½), b = 0 is the corner of that"
        " quadrant, so symmetry is not needed, only near. Last columns: how far weights turned from start to end, and the"
        " ratio of their lengths."
    )
    symmetry = tables.symmetry(rows)
    writer.file(symmetry, "symmetry")
    report.table(show.symmetry_text(symmetry))
    report.section("Hyperplanes and distances")
    writer.draw(plane_figures.hyperplane_figure(rows))
    writer.draw(figures.distance_figure(rows))
    report.text(
        "Distances of both points of a class from both hyperplanes of the solved runs; firing: the share that is positive,"
        " and the means of the positive (firing) and of the other (dark) distances."
    )
    writer.table(hyperplanes.distance_table(rows), "distances")
    report.section("Units on the four points")
    report.text("dead: no point fires it; at risk: largest pre-activation below 0.1; always on: every point fires it.")
    writer.table(hyperplanes.units(rows), "units")
    report.section("Clusters of final hyperplanes")
    report.text(
        f"Groups of (w, b) in the first {hyperplanes.CLUSTERED_RUNS:,} runs, linked by steps of at most"
        f" {hyperplanes.CLUSTER_RADIUS}; centres as (w_x, w_y; b). Published for mirror: ±(0.54, −0.545), b = −0.086."
        " Where lost hyperplanes fill the gaps (normal, leaky_0.01, absolute) the groups join, and their centre says nothing."
    )
    writer.table(hyperplanes.clusters(rows), "clusters")
