"""Do margins foretell deaths? From the per-unit files of a run: ROC, lead time, alarms, and when units die.

A unit dies when its margin falls to 0 or below between two updates; a death is lasting if the unit stays dead for HORIZON
updates on end. Continual backprop and ReDo replace units: a replacement may appear here as a revival, or as a death.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop.analysis import statistics
from lop.analysis.rows import note
from lop.analysis.runs import IDENTITY, Runs
from lop.run.files import RunError
from lop.run.reader import Run

#: updates within which a death counts as foretold
HORIZON = 10
DEFAULT_EPSILON = 0.1
#: at most so many points in time enter a run's ROC, evenly spread
MAX_TIMES = 400
FALSE_POSITIVE_RATES = np.logspace(-4, 0, 161)
THIRDS = ("early", "middle", "late")
PREDICTORS = ("margin", "scale-free margin", "firing rate", "mean |h|")


@dataclass(frozen=True)
class UnitStudy:
    """One run. leads [lasting deaths]: updates without a break that the unit was at risk (0 < γ < ε) just before it died.

    aucs, rates: by predictor, of a death within HORIZON updates; rates are true-positive rates on FALSE_POSITIVE_RATES.
    alarms: entries of the at-risk zone; alarms_true: of these, how many died within HORIZON updates.
    onsets [3]: lasting deaths in each third of the run. dead_at_start: units that were dead in its first update.
    """

    updates: int
    units: int
    deaths: int
    revivals: int
    leads: np.ndarray
    alarms: int
    alarms_true: int
    onsets: np.ndarray
    dead_at_start: int
    aucs: dict[str, float]
    rates: dict[str, np.ndarray]


def study_units(
    margin: np.ndarray, features: dict[str, np.ndarray], epsilon: float, horizon: int = HORIZON
) -> UnitStudy:
    """What the margins [U, H] of a run say about its deaths; features [U, H] by name: low values foretell death."""
    dead = margin <= 0
    died = np.zeros_like(dead)
    died[1:] = dead[1:] & ~dead[:-1]
    soon = dies_within(dead, horizon)
    lasting = died & stays_dead(dead, horizon)
    when, unit = np.nonzero(lasting)
    safe = np.where(margin >= epsilon, np.arange(len(margin), dtype=np.int32)[:, None], np.int32(-1))
    last_safe = np.maximum.accumulate(safe, axis=0)
    entered = np.zeros_like(dead)
    entered[1:] = (margin[:-1] >= epsilon) & (margin[1:] < epsilon) & ~dead[1:]
    entered[max(len(dead) - horizon, 0) :] = False  # too near the end to know how it goes on
    aucs, rates = _roc(features, dead, soon, horizon)
    return UnitStudy(
        updates=dead.shape[0],
        units=dead.shape[1],
        deaths=int(died.sum()),
        revivals=int((dead[:-1] & ~dead[1:]).sum()),
        leads=when - 1 - last_safe[when - 1, unit],
        alarms=int(entered.sum()),
        alarms_true=int((entered & soon).sum()),
        onsets=np.bincount(np.minimum(3 * when // max(len(margin), 1), 2), minlength=3),
        dead_at_start=int(dead[0].sum()) if len(dead) else 0,
        aucs=aucs,
        rates=rates,
    )


def dies_within(dead: np.ndarray, horizon: int) -> np.ndarray:
    """Whether a unit is dead at some of the next `horizon` updates, [U, H]; False at the end, where there are no more."""
    soon = np.zeros_like(dead)
    for ahead in range(1, min(horizon, len(dead) - 1) + 1):
        soon[:-ahead] |= dead[ahead:]
    return soon


def stays_dead(dead: np.ndarray, horizon: int) -> np.ndarray:
    """Whether a unit is dead at this update and the following `horizon` - 1, [U, H]; False where the run ends before."""
    stays = dead.copy()
    for ahead in range(1, horizon):
        stays[:-ahead] &= dead[ahead:]
        stays[len(dead) - ahead :] = False
    return stays


def _roc(
    features: dict[str, np.ndarray], dead: np.ndarray, soon: np.ndarray, horizon: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """AUC and ROC of each feature over living units, at times that are at least `horizon` updates apart."""
    last = len(dead) - horizon
    times = np.arange(0, max(last, 0), max(horizon, last // MAX_TIMES, 1))
    alive = ~dead[times]
    positive = soon[times][alive]
    aucs, rates = {}, {}
    for name, values in features.items():
        scores = -values[times][alive].astype(float)
        use = np.isfinite(scores)
        aucs[name] = statistics.auc(scores[use], positive[use])
        if np.isfinite(aucs[name]):
            rates[name] = statistics.roc(scores[use], positive[use], FALSE_POSITIVE_RATES)
    return aucs, rates


def study_run(run: Run) -> UnitStudy:
    """The study of a run folder. Errors: RunError if its per-unit file cannot be read, or holds too few updates."""
    if len(run.units) <= HORIZON:
        raise RunError(
            f"{run.folder / 'units'}: {len(run.units)} updates; the study of deaths needs more than {HORIZON}"
        )
    margin = run.unit_field("margin")
    with np.errstate(divide="ignore", invalid="ignore"):
        scale_free = margin / run.unit_field("weight_norm").astype(np.float32)
    fields = (margin, scale_free, run.unit_field("firing_rate"), run.unit_field("mean_abs_h"))
    epsilon = float(run.configuration.get("monitor", {}).get("epsilon", DEFAULT_EPSILON))
    return study_units(margin, dict(zip(PREDICTORS, fields, strict=True)), epsilon)


def study_all(runs: Runs) -> dict[str, UnitStudy]:
    """The studies of all runs that have per-unit files, by run; one run's arrays are in memory at a time."""
    found = {}
    for name in runs.table["run"]:
        try:
            found[name] = study_run(runs.run(name))
        except RunError as error:
            note(runs.left_out, str(error))
    return found


def study_table(runs: Runs, studies: dict[str, UnitStudy]) -> pd.DataFrame:
    """A row per run: deaths, lasting deaths, their thirds, alarms and how many were true, median lead, AUCs.

    Leads are in environment steps; warned: share of the lasting deaths with at least one update at risk before.
    """
    rows = []
    for run in runs.table.itertuples():
        study = studies.get(run.run)
        if study is None:
            continue
        row = {name: getattr(run, name) for name in IDENTITY}
        row |= {"units": study.units, "deaths": study.deaths, "revivals": study.revivals, "lasting": len(study.leads)}
        row |= {"dead_at_start": study.dead_at_start, **dict(zip(THIRDS, study.onsets.tolist(), strict=True))}
        row |= {"alarms": study.alarms, "alarms_true": study.alarms_true / study.alarms if study.alarms else np.nan}
        known = len(study.leads) > 0
        row["warned"] = float((study.leads > 0).mean()) if known else np.nan
        row["median_lead"] = float(np.median(study.leads)) * run.steps_per_update if known else np.nan
        rows.append(row | {f"auc {name}": value for name, value in study.aucs.items()})
    return pd.DataFrame(rows)
