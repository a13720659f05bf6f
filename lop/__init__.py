"""lop: watch neural networks lose plasticity, and test what keeps it."""

__version__ = "0.1.0"
