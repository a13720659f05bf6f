"""`python -m lop.doctor` says what a machine has and lacks, and shows no secret."""

from __future__ import annotations

import json

import pytest

from lop import doctor
from lop.doctor import Finding, main


@pytest.fixture
def quick(monkeypatch):
    """Without the checks that start a process or open an environment."""
    for name in ("rendering", "physics"):
        monkeypatch.setattr(doctor, name, lambda name=name: Finding(name, "ok", "as told"))


def test_everything_is_on_one_screen_and_this_machine_can_train(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10 and not any(line.startswith("BAD") for line in lines)
    assert any("lop/Ant-v3 steps" in line for line in lines)


@pytest.mark.usefixtures("quick")
def test_a_key_is_found_and_never_shown(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2)
    assert main(["--json"]) == 0
    out = capsys.readouterr().out
    (found,) = [finding for finding in json.loads(out) if finding["part"] == "wandb"]
    assert found["grade"] == "ok" and "0123456789" not in out


@pytest.mark.usefixtures("quick")
def test_what_is_missing_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-package"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "missing: no-such-package" in out and "no sbatch" in out and "no key" in out


@pytest.mark.usefixtures("quick")
def test_a_check_that_fails_itself_does_not_hide_the_others(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "physics", lambda: 1 / 0)
    assert main([]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
