"""How complex are the dynamics of one neuron learning another? A page to try it: `python -m lop.lab.playground`.

page() is the whole page as one text; core is its mathematics in numpy, which the page's core.js is tested against.
"""

from lop.lab.playground.assembly import NAME, page

__all__ = ["NAME", "page"]
