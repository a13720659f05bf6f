"""How long a frame of the playground takes in a real browser while it plays, with everything drawn.

    python tests/lab/playground/frames.py [--frames N] [--rounds N]

Rounds alternate between the playground and an empty page, which tells what this machine can do at the moment. Given are the
time between frames (requestAnimationFrame), the time inside the page's own draw(), and what a busy machine changes least: the
processor time of a frame by thread, of which the page's own ("main of renderer") decides, and the compositor's, which works
beside it (in software here).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from lop.lab.playground.__main__ import write

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
)
UNLIMITED = ["--disable-frame-rate-limit", "--disable-gpu-vsync"]
COLLECT = """frames => new Promise(done => {
    const between = [], inside = [];
    let before = null;
    const look = now => {
        if (before !== null) between.push(now - before);
        before = now;
        if (window.playground) inside.push(playground.counted.drawMs);
        if (between.length < frames) requestAnimationFrame(look);
        else done({ between, inside, images: window.playground?.counted.images ?? 0 });
    };
    requestAnimationFrame(look);
})"""


def collected(page: Page, frames: int) -> dict[str, Any]:
    """Milliseconds of each frame; inside: those of draw(), [] on an empty page."""
    if page.evaluate("'playground' in window"):
        # a start that moves all the time, so that every landscape changes in every frame
        page.evaluate(
            "playground.choose(5); playground.set('speed', 1); playground.set('rate', 0.01); playground.play()"
        )
    before = used()
    found = page.evaluate(COLLECT, frames)
    found["cpu"] = {name: (ticks - before.get(name, 0)) * 1000 / frames for name, ticks in used().items()}
    return found


def used() -> dict[str, float]:
    """Seconds of processor time up to now by thread name, summed over this browser's processes."""
    sums: dict[str, float] = {}
    for pid in browser_processes():
        for task in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                head, _, rest = task.read_text().rpartition(")")
                fields = rest.split()
                name = head.partition("(")[2]
                if task.parent.name == str(pid):
                    name = f"main of {kind(pid)}"
                sums[name] = sums.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return sums


def kind(pid: int) -> str:
    """What a process is for: renderer is the page's own."""
    found = re.search(r"--type=([a-z-]+)", Path(f"/proc/{pid}/cmdline").read_text())
    return found[1] if found else "browser"


def browser_processes() -> list[int]:
    """Descendants of this process; the driver is among them and costs little."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def line(name: str, values: list[float]) -> str:
    cuts = statistics.quantiles(values, n=20)
    return f"{name}: median {statistics.median(values):.1f} ms, 90 % below {cuts[17]:.1f} ms, {len(values)} frames"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=180, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(1366, 768), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--unlimited", action="store_true", help="frames as fast as they come, not 60 a second")
    asked = parser.parse_args()
    path = write(Path(tempfile.mkdtemp()))
    between: dict[str, list[float]] = {"playground": [], "empty page": []}
    inside: list[float] = []
    cpu: dict[str, list[dict[str, float]]] = {"playground": [], "empty page": []}
    with sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=program, args=[*FLAGS.split(), *UNLIMITED * asked.unlimited])
        for _ in range(asked.rounds):
            for name, address in (("playground", path.as_uri()), ("empty page", "about:blank")):
                page = browser.new_page(viewport={"width": asked.size[0], "height": asked.size[1]})
                page.goto(address)
                found = collected(page, asked.frames)
                between[name] += found["between"]
                inside += found["inside"]
                cpu[name].append(found["cpu"])
                if name == "playground":
                    assert found["images"] > 0.9 * asked.frames, "the landscapes stood still"
                page.close()
        browser.close()
    shutil.rmtree(path.parent)
    for name, values in between.items():
        print(line(f"between frames, {name}", values))
    print(line("inside draw()", inside))
    for name, rounds in cpu.items():
        mean = {thread: statistics.fmean(one.get(thread, 0.0) for one in rounds) for thread in rounds[0]}
        parts = ", ".join(
            f"{thread} {ms:.1f}" for thread, ms in sorted(mean.items(), key=lambda pair: -pair[1]) if ms >= 0.1
        )
        print(f"processor time a frame, {name}: {sum(mean.values()):.1f} ms ({parts})")


if __name__ == "__main__":
    main()
