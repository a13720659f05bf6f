from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lop.dashboard.look import THEMES
from lop.lab.playground import page
from lop.lab.playground.__main__ import main
from lop.lab.playground.assembly import read


def test_one_file_is_written_and_named(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "lab")]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "lab" / "playground.html"
    assert path.read_text(encoding="utf-8") == page()
    assert [file.name for file in path.parent.iterdir()] == ["playground.html"]


def test_the_file_names_no_other_address():
    assert re.findall(r"https?:|src=|@import|url\(", page()) == []
    assert "/*SCRIPT*/" not in page() and "<!--" not in page()


@pytest.mark.parametrize("words", [["--out", "FILE"], ["--seed", "1"], ["--out"]])
def test_a_wrong_command_is_one_line(words, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")
    words = [str(taken) if word == "FILE" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "lop.lab.playground", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: .*\n", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file" / "folder")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_open_calls_the_browser(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda address: asked.append(address) or False)
    assert main(["--out", str(tmp_path), "--open"]) == 0
    assert asked == [(tmp_path / "playground.html").resolve().as_uri()]
    assert "open the file by hand" in capsys.readouterr().err


def test_the_pages_of_a_site_are_linked_and_escaped():
    text = page([("runs", "All <runs>"), ("playground", "Playground")])
    assert '<a href="runs">All &lt;runs&gt;</a><span class="here">Playground</span>' in text


def test_the_colours_are_the_dashboards():
    light, dark = re.findall(r":root[^{]*\{([^}]*)\}", read("page.css"))
    for text, mode in ((light, "light"), (dark, "dark")):
        colours = dict(re.findall(r"--(\w+): (#\w+);", text))
        assert {name: colours[name] for name in THEMES[mode]} == THEMES[mode]
