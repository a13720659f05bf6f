"""The playground in a real browser, opened from disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as one file."""
    from lop.lab.playground.__main__ import write

    return write(tmp_path_factory.mktemp("playground"))


class Visit:
    """Pages of the file, each in a context of its own; what the browser complained of and asked for."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.browser, self.file = browser, file
        self.contexts: list[Any] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, hash: str = "", **options: Any) -> Any:
        """A page, drawn. options: of the browser's context."""
        context = self.browser.new_context(**{"viewport": {"width": 1366, "height": 768}, **options})
        self.contexts.append(context)
        context.on("console", lambda message: self.complaints.append(message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.requests.append(request.url))
        page = context.new_page()
        page.goto(self.file.as_uri() + hash)
        page.wait_for_function("window.playground?.counted.drawn > 0")
        return page

    def check(self) -> None:
        """No message on the console, no request but for the file."""
        assert self.complaints == []
        assert {url.partition("#")[0] for url in self.requests if not url.startswith("data:")} <= {self.file.as_uri()}

    def close(self) -> None:
        for context in self.contexts:
            context.close()


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Callable[..., Any]]:
    """opened(hash="", **options): a page of its own."""
    visit = Visit(browser, file)
    yield visit.open
    visit.close()
    visit.check()


@pytest.fixture(scope="module")
def shared(browser: Any, file: Path) -> Iterator[tuple[Visit, Any]]:
    visit = Visit(browser, file)
    yield visit, visit.open()
    visit.close()


@pytest.fixture
def page(shared: tuple[Visit, Any]) -> Iterator[Any]:
    """The page as it opens on a laptop; one for all tests of a file, put back before each."""
    visit, page = shared
    page.mouse.up()
    page.evaluate(
        "() => { document.activeElement.blur(); playground.choices = {}; playground.goHome(); playground.say(''); }"
    )
    yield page
    visit.check()


@pytest.fixture(scope="module")
def script(browser: Any, file: Path) -> Iterator[Any]:
    """A page to call the mathematics on: script.evaluate("x => Core.shape(x)", ...)."""
    page = browser.new_page()
    page.goto(file.as_uri())
    yield page
    page.close()
