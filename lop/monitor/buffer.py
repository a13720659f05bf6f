"""The last N observations of one network or of a population, on the device of the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class ObservationBuffer:
    """A ring of the last `size` observations of M members.

    size: N, observations kept a member. shape: shape of one observation, or its number of features.
    `window()` is in time order, oldest first, so that results do not depend on where the ring happens to begin; a state
    saved from one population continues identically in another.
    """

    def __init__(
        self,
        size: int,
        shape: int | tuple[int, ...],
        members: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        if size < 1 or members < 1:
            raise ValueError(f"a buffer needs size >= 1 and members >= 1, got size={size}, members={members}")
        self.size, self.members = size, members
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.data = torch.zeros((members, size, *self.shape), dtype=dtype, device=device)
        self._counts = np.zeros(members, dtype=np.int64)
        self._positions = np.zeros(members, dtype=np.int64)

    @property
    def count(self) -> int:
        """Observations held by every member, at most `size`."""
        if (self._counts != self._counts[0]).any():
            raise ValueError(f"members are not in step: they hold {self._counts.tolist()} observations")
        return int(self._counts[0])

    @property
    def full(self) -> bool:
        return self.count == self.size

    def extend(self, observations: Tensor) -> None:
        """Append k observations a member, [M, k, *shape], in time order; of more than N the last N stay."""
        if observations.shape[0] != self.members or tuple(observations.shape[2:]) != self.shape:
            expected = f"[{self.members}, k, {', '.join(map(str, self.shape))}]"
            raise ValueError(f"observations must have shape {expected}, got {list(observations.shape)}")
        new = observations[:, -self.size :].detach()
        k = new.shape[1]
        for members, start in self._groups():
            first = min(k, self.size - start)
            self.data[members, start : start + first] = new[members, :first].to(self.data)
            self.data[members, : k - first] = new[members, first:].to(self.data)
        self._positions = (self._positions + k) % self.size
        self._counts = np.minimum(self._counts + k, self.size)

    def _groups(self) -> Iterator[tuple[slice, int]]:
        """Slices of members whose rings begin at the same place: one for all, unless states were loaded singly."""
        if (self._positions == self._positions[0]).all():
            yield slice(None), int(self._positions[0])
        else:
            yield from ((slice(m, m + 1), int(start)) for m, start in enumerate(self._positions))

    def window(self) -> Tensor:
        """The observations held, [M, count, *shape], oldest first; a new tensor, or a view when nothing must move."""
        count, groups = self.count, list(self._groups())
        parts = [self._ordered(members, start, count) for members, start in groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _ordered(self, members: slice, start: int, count: int) -> Tensor:
        data = self.data[members]
        if count < self.size or start == 0:
            return data[:, :count]
        return torch.cat((data[:, start:], data[:, :start]), 1)

    def clear(self) -> None:
        self._counts[:] = 0
        self._positions[:] = 0

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        """One member's observations in time order, [count, *shape]."""
        start, count = int(self._positions[member]), int(self._counts[member])
        ordered = self._ordered(slice(member, member + 1), start, count)
        return {"observations": ordered[0].cpu().numpy().copy()}

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        """Replace one member's observations by those of a saved state."""
        observations = torch.from_numpy(np.array(state["observations"]))
        if tuple(observations.shape[1:]) != self.shape or len(observations) > self.size:
            raise ValueError(
                f"saved observations have shape {list(observations.shape)}, this buffer takes at most {self.size} "
                f"of shape {list(self.shape)}"
            )
        count = len(observations)
        self.data[member, :count] = observations.to(self.data)
        self._counts[member] = count
        self._positions[member] = count % self.size
