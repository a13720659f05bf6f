from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "monitor.md"


def test_the_diagnosis_finds_what_the_drift_killed_and_both_remedies_help(example, monkeypatch, capsys):
    diagnosis = example("diagnosis")
    monkeypatch.setattr(diagnosis, "STEPS", 300)
    errors = diagnosis.main()
    text = capsys.readouterr().out
    killed = int(re.search(r"with the same weights: (\d+) of 64", text)[1])
    assert killed >= 10
    # the first computation after the drift: as many dead as the old weights had on the new data
    drifted = next(
        line.split() for line in text.partition("the sensors drift")[2].splitlines() if line[:6].strip() == "300"
    )
    assert int(drifted[1]) == killed
    assert abs(int(drifted[5]) - killed) <= 4  # the weights of the computation before, not those of the change
    assert errors["old, inputs centred"] < errors["old, dead units moved to the data"] < errors["old network"]


def test_the_guide_shows_what_the_example_prints():
    shown = GUIDE.read_text().partition("$ python examples/diagnosis.py\n")[2].partition("```")[0]
    for title in (
        "at risk",
        "will die",
        "eff. rank",
        "the sensors drift by 3",
        "farthest of the dead",
        "old, inputs centred",
    ):
        assert title in shown
