"""Looks at every page in a real browser, and writes what it saw to OUT/seen.json and OUT/*.png.

    python tests/dashboard/visit.py RUNS OUT [--cut] [--all]

--cut: in a network namespace of its own (run under `unshare -n`): switches loopback on there, and nothing else is
reachable. RUNS gets a growing run. Started by test_browser.py; of use by hand for its screenshots.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright
from synthetic_runs import STEPS, Synthetic

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
# light all, dark those with something of their own; with --all every page in both
DARK = ("runs", "units")
PAGES = ("runs", "run?run=sant%2Fstd%2Fseed_0", "units?run=ant%2Fstd%2Fseed_0", "tasks", "compare")
WAIT_MS = 60_000
# numbers in all sources that a plot draws from
COUNT = """() => Bokeh.documents.flatMap(d => d.roots()).flatMap(r => [...r.references()])
    .filter(m => m.type === "GlyphRenderer")
    .map(m => [m.glyph.type, [...m.data_source.data.values?.() ?? Object.values(m.data_source.data)][0]?.length ?? 0])"""
LEGEND = """() => Bokeh.documents.flatMap(d => d.roots()).find(r => r.name === "legend")?.text ?? "" """
TABLE = """() => Bokeh.documents.flatMap(d => d.roots()).find(r => r.name === "table")?.text ?? "" """
DRAWN = "() => window.Bokeh?.documents.length > 0 && Bokeh.documents[0].is_idle"


class Seen:
    """What happened in the browser."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.found: dict[str, Any] = {}

    def watch(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))


def switch_loopback_on() -> None:
    """ifconfig lo up."""
    up, set_flags, get_flags = 1, 0x8914, 0x8913
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        flags = struct.unpack_from("H", fcntl.ioctl(handle, get_flags, struct.pack("16sH22x", b"lo", 0)), 16)[0]
        fcntl.ioctl(handle, set_flags, struct.pack("16sH22x", b"lo", flags | up))


@contextlib.contextmanager
def served(runs: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The dashboard in a process of its own: its address and the process."""
    words = [sys.executable, "-m", "lop.dashboard", str(runs)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def opened(context: BrowserContext, address: str, mode: str) -> Page:
    """A page, when everything on it is drawn."""
    page = context.new_page()
    page.emulate_media(color_scheme=mode)  # type: ignore[arg-type]
    page.goto(address)
    page.wait_for_function(DRAWN, timeout=WAIT_MS)
    page.wait_for_timeout(500)  # the colours follow
    return page


def visit_all(context: BrowserContext, address: str, out: Path, seen: Seen) -> None:
    for mode in ("light", "dark"):
        for path in PAGES:
            if mode == "dark" and path.partition("?")[0] not in DARK and "--all" not in sys.argv:
                continue
            page = opened(context, address + path, mode)
            name = f"{path.partition('?')[0]}-{mode}"
            page.screenshot(path=out / f"{name}.png")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            seen.found[name] = {"sources": page.evaluate(COUNT), "overhang": wide, "title": page.title()}
            page.close()


def toggle(context: BrowserContext, address: str, out: Path, seen: Seen) -> None:
    """Light by the system, dark by the button, and still dark on the next page."""
    ground = "getComputedStyle(document.body).backgroundColor"
    page = opened(context, address + "runs", "light")
    colours = [page.evaluate(ground)]
    page.click("#theme")
    page.wait_for_timeout(500)
    page.screenshot(path=out / "runs-toggled.png")
    colours.append(page.evaluate(ground))
    page.goto(address + "compare")
    colours.append(page.evaluate(ground))
    page.evaluate("localStorage.clear()")
    page.close()
    seen.found["toggle"] = colours


def play(context: BrowserContext, address: str, out: Path, seen: Seen) -> None:
    """From a page to the playground and back, by the links."""
    page = opened(context, address + "runs", "dark")
    page.click("nav >> text=Playground")
    page.wait_for_function("window.playground?.counted.drawn > 0", timeout=WAIT_MS)
    page.screenshot(path=out / "playground-dark.png")
    seen.found["playground"] = [page.title(), page.evaluate("getComputedStyle(document.body).backgroundColor")]
    page.click("nav >> text=Compare")
    page.wait_for_function(DRAWN, timeout=WAIT_MS)
    seen.found["playground"].append(page.title())
    page.close()


def choose(context: BrowserContext, address: str, seen: Seen) -> None:
    """The form leads to another address, which shows what was chosen."""
    page = opened(context, address + "runs", "light")
    page.select_option("select[name=env]", "sant")
    page.wait_for_url("**env=sant**")
    page.wait_for_function(DRAWN, timeout=WAIT_MS)
    seen.found["chosen"] = page.evaluate(LEGEND)
    page.close()


def grow(context: BrowserContext, address: str, runs: Path, seen: Seen) -> None:
    """Seconds until a new run is on an open page, and until its next rows are."""
    page = opened(context, address + "runs", "light")
    begin = time.monotonic()
    run = Synthetic(runs, "ant", "redo", 0, planned=100, layers=(16, 12))
    run.advance(20)
    page.wait_for_function(f"({LEGEND})().includes('ant/redo')", timeout=WAIT_MS)
    appeared = time.monotonic() - begin
    begin = time.monotonic()
    run.advance(30)
    page.wait_for_function(f"({TABLE})().includes('{50 * STEPS / 1e3:.3g} k of')", timeout=WAIT_MS)
    seen.found["growing"] = {"appeared_s": appeared, "grew_s": time.monotonic() - begin}
    run.end()
    page.close()


def save(context: BrowserContext, address: str, out: Path, seen: Seen) -> None:
    """The saved page, opened as a file."""
    page = opened(context, address + "compare", "light")
    with page.expect_download() as started:
        page.click("text=HTML")
    started.value.save_as(out / "saved.html")
    page.close()
    page = opened(context, (out / "saved.html").as_uri(), "dark")
    page.screenshot(path=out / "saved-dark.png")
    seen.found["saved"] = {"sources": page.evaluate(COUNT)}
    page.close()


def main() -> None:
    runs, out = Path(sys.argv[1]), Path(sys.argv[2])
    if "--cut" in sys.argv:
        switch_loopback_on()
    seen = Seen()
    profile = tempfile.mkdtemp()
    with served(runs) as (address, process), sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=FLAGS.split(),
            viewport={"width": 1280, "height": 800},
        )
        seen.watch(context)
        visit_all(context, address, out, seen)
        toggle(context, address, out, seen)
        play(context, address, out, seen)
        choose(context, address, seen)
        grow(context, address, runs, seen)
        save(context, address, out, seen)
        page = opened(context, address + "runs", "light")
        errors = len(seen.errors)
        process.send_signal(signal.SIGTERM)
        page.wait_for_selector("#lost", state="visible", timeout=WAIT_MS)
        seen.errors = seen.errors[:errors]  # that the connection is gone is an error rightly
        context.close()
    shutil.rmtree(profile, ignore_errors=True)
    content = {"address": address, "requests": sorted(set(seen.requests)), "errors": seen.errors, **seen.found}
    (out / "seen.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
