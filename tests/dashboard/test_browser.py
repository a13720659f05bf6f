"""One visit of a real browser to every page, and what it saw (visit.py), without a network where that can be had."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lop.analysis.colours import COLOURS
from lop.dashboard.look import DEAD, THEMES
from lop.dashboard.pages import PAGES

VISIT = Path(__file__).with_name("visit.py")


@pytest.fixture(scope="module")
def seen(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What visit.py saw; `folder` has the screenshots, `cut` says whether there was no network."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no chromium (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(runs, folder / "runs")
    alone = without_network()
    words = [*alone, sys.executable, str(VISIT), str(folder / "runs"), str(folder), *["--cut"] * bool(alone)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads((folder / "seen.json").read_text()), "folder": folder, "cut": bool(alone), "log": done.stderr}


def without_network() -> list[str]:
    """The command that runs another without a network; [] where this machine does not allow it."""
    for words in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        try:
            if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
                return words
        except OSError:
            break
    return []


def near(path: Path, colour: str) -> int:
    """Pixels of a screenshot that have about this colour."""
    image = pytest.importorskip("PIL.Image").open(path)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(np.asarray(image.convert("RGB")).astype(int) - wanted).max(2) <= 12).sum())


def test_nothing_but_the_server_and_the_saved_file_is_asked_for(seen):
    port = seen["address"].rstrip("/").rpartition(":")[2]
    mine = (f"http://127.0.0.1:{port}/", f"ws://127.0.0.1:{port}/", "data:", "blob:", seen["folder"].as_uri())
    assert [url for url in seen["requests"] if not url.startswith(mine)] == []
    assert len(seen["requests"]) > 5


def test_the_console_and_the_servers_log_are_empty(seen):
    assert seen["errors"] == []
    assert seen["log"] == ""


@pytest.mark.parametrize("page, mode", [*((page, "light") for page in PAGES), ("runs", "dark"), ("units", "dark")])
def test_a_page_shows_its_data(seen, page, mode):
    found = seen[f"{page}-{mode}"]
    assert found["title"] == f"{PAGES[page].title} - lop"
    assert found["overhang"] <= 0  # nothing sticks out at 1280 pixels
    drawn = {kind: count for kind, count in found["sources"] if count}
    assert ("Image" if page == "units" else "MultiLine") in drawn
    picture = seen["folder"] / f"{page}-{mode}.png"
    assert near(picture, DEAD if page == "units" else COLOURS["std"]) > 200
    # the ground of the plots, behind the curves
    assert near(picture, THEMES[mode]["panel"]) > 1280 * 800 / 20


def test_the_button_turns_the_page_dark_and_it_stays_so(seen):
    light, dark, next_page = seen["toggle"]
    assert light == "rgb(246, 247, 249)" and dark == next_page == "rgb(20, 23, 27)"
    assert near(seen["folder"] / "runs-toggled.png", THEMES["dark"]["panel"]) > 1280 * 800 / 20


def test_the_playground_is_a_page_of_the_dashboard(seen):
    assert seen["playground"] == ["Playground - lop", "rgb(20, 23, 27)", f"{PAGES['compare'].title} - lop"]


def test_a_choice_in_the_form_is_shown(seen):
    assert "sant/std" in seen["chosen"] and ">ant/" not in seen["chosen"]


def test_a_run_that_appears_and_grows_is_on_an_open_page_within_5_s(seen):
    assert seen["growing"]["appeared_s"] < 5
    assert seen["growing"]["grew_s"] < 5


def test_a_saved_page_opens_alone(seen):
    assert ["MultiLine", 2] in [[kind, min(count, 2)] for kind, count in seen["saved"]["sources"]]
    assert near(seen["folder"] / "saved-dark.png", COLOURS["cbp"]) > 200
