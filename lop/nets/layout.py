"""Where each parameter of a population lies in one flat vector, so that an optimiser step is a few large operations.

The vector is segment-major: first layer's weights of all networks, then their biases, and so on. Every network's block is
padded to a multiple of 64 numbers and can be viewed as [networks, ...] with a uniform stride, which is what a batched
matmul wants. The padding keeps a member's numbers bit-identical alone and in company: vectorised kernels treat the last
`size % vector width` numbers of a tensor differently, and no member's numbers may ever lie there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGNMENT = 64


@dataclass(frozen=True)
class Segment:
    """One parameter of `copies` networks: block i is `shape` numbers, starting at offset + i * stride."""

    name: str
    copies: int
    shape: tuple[int, ...]
    offset: int

    @property
    def stride(self) -> int:
        return math.ceil(math.prod(self.shape) / ALIGNMENT) * ALIGNMENT

    @property
    def end(self) -> int:
        return self.offset + self.copies * self.stride

    def view(self, flat: Tensor) -> Tensor:
        """[copies, *shape], a view of flat."""
        inner = [math.prod(self.shape[d + 1 :]) for d in range(len(self.shape))]
        return flat.as_strided((self.copies, *self.shape), (self.stride, *inner), self.offset)


class Layout:
    """The segments of a flat parameter vector, by name and in order."""

    def __init__(self, parameters: list[tuple[str, int, tuple[int, ...]]]):
        """parameters: (name, number of networks that have it, shape in one network)."""
        self.segments: dict[str, Segment] = {}
        offset = 0
        for name, copies, shape in parameters:
            segment = Segment(name, copies, shape, offset)
            self.segments[name] = segment
            offset = segment.end
        self.size = offset

    def zeros(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(self.size, device=device, dtype=dtype)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Name -> [copies, *shape] view of flat, for parameters and equally for gradients and moments."""
        return {name: segment.view(flat) for name, segment in self.segments.items()}
