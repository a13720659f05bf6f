"""Methods that intervene after each optimiser step. One file a method, found by its name.

A variant `foo` is a module lop/variants/foo.py with a dataclass `Settings(AlgoSettings)`, whose fields are the keys that
cfg/<env>/foo.yaml may set, and a class `Foo(Variant)` named by `VARIANT = Foo`. Variants that only set the optimiser (std,
ns, l2) have no code: their YAML says `variant: null`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from lop.variants.base import Variant, VariantContext

_NOT_VARIANTS = ("base", "replacement", "units")


def names() -> list[str]:
    """Names of the variants that have code."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_VARIANTS)


def module(name: str) -> ModuleType:
    if name not in names():
        raise ValueError(f"variant {name!r} is unknown; available: {', '.join(names())} or null")
    return importlib.import_module(f"lop.variants.{name}")


__all__ = ["Variant", "VariantContext", "module", "names"]
