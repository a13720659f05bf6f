"""Fixtures of the symmetry study."""

from __future__ import annotations

import pytest

from lop.analysis import style
from lop.lab.symmetry.settings import Member, Seeds, Settings


@pytest.fixture(autouse=True)
def coarse_figures(monkeypatch) -> None:
    """Drawing is most of these tests' time."""
    monkeypatch.setattr(style, "DPI", 40)


@pytest.fixture
def small() -> Settings:
    """Seconds for dozens of trainings: 180 training points, a batch of 64 and a smaller last one."""
    return Settings(points=300, epochs=4, batch_size=64, num_hidden_layers=2, hidden_dim=20)


@pytest.fixture
def mixed() -> list[Member]:
    """Members of every kind, the deepest neither first nor last."""
    return [
        Member(Seeds.of(42), None, 0.0),
        Member(Seeds.of(43), 1, 10.0),
        Member(Seeds.of(42), -1, 3.0),
        Member(Seeds(7, 8, 9), 2, 0.5),
        Member(Seeds.of(42), -1, 0.0),
    ]
