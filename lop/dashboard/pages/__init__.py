"""The pages: each makes a form and a View from the library and what the reader chose."""

from __future__ import annotations

from lop.dashboard.pages import compare, one_run, overview, tasks, units
from lop.dashboard.pages.common import Page

PAGES: dict[str, Page] = {
    page.name: page for page in (overview.PAGE, one_run.PAGE, units.PAGE, tasks.PAGE, compare.PAGE)
}

__all__ = ["PAGES", "Page"]
