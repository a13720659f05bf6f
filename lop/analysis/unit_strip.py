"""A picture of all hidden units at one moment, to be put below a film: firing, silent, at risk, dead."""

from __future__ import annotations

import numpy as np
import torch

#: silent, firing, at risk, dead
STATE_COLOURS = np.array([[70, 76, 86], [86, 180, 233], [240, 190, 40], [213, 60, 20]], np.uint8)
SILENT, FIRING, AT_RISK, DEAD = range(4)
BACKGROUND = np.array([22, 24, 29], np.uint8)


class UnitStrip:
    """Hidden units as cells below a picture, one band a layer: what each does now, and whether it is dead or at risk.

    Dead and at risk: by the largest pre-activation over `observations` [N, D]; at risk: above 0, below `epsilon`.
    """

    @torch.inference_mode()
    def __init__(self, policy: torch.nn.Sequential, observations: np.ndarray, epsilon: float, width: int) -> None:
        self.margins = []
        x = torch.from_numpy(observations)
        for module in policy[:-1]:
            x = module(x)
            if isinstance(module, torch.nn.Linear):
                self.margins.append(x.max(dim=0).values.numpy())
        self.dead = [margin <= 0 for margin in self.margins]
        self.at_risk = [(margin > 0) & (margin < epsilon) for margin in self.margins]
        self.width = width

    def below(self, picture: np.ndarray, hidden: list[np.ndarray]) -> np.ndarray:
        """The picture [height, width, 3] with a band a layer beneath it; hidden: pre-activations [H] of each layer."""
        bands = []
        for z, dead, at_risk in zip(hidden, self.dead, self.at_risk, strict=True):
            state = np.where(z > 0, FIRING, SILENT)
            state[at_risk], state[dead] = AT_RISK, DEAD
            bands += [np.broadcast_to(BACKGROUND, (4, self.width, 3)), self._band(STATE_COLOURS[state])]
        # encoders want an even number of rows
        bands.append(np.broadcast_to(BACKGROUND, (4 + sum(len(band) for band in bands) % 2, self.width, 3)))
        return np.concatenate([picture, *bands])

    def _band(self, colours: np.ndarray) -> np.ndarray:
        """Cells of the units [H, 3], row after row, as large as the width allows."""
        count = len(colours)
        columns = min(count, max(1, self.width // 8))
        rows = -(-count // columns)
        size = self.width // columns
        cells = np.broadcast_to(BACKGROUND, (rows * columns, 3)).copy()
        cells[:count] = colours
        cells = cells.reshape(rows, columns, 3).repeat(size, axis=0).repeat(size, axis=1)
        if size > 3:
            cells[::size], cells[:, ::size] = BACKGROUND, BACKGROUND
        band = np.broadcast_to(BACKGROUND, (len(cells), self.width, 3)).copy()
        band[:, : cells.shape[1]] = cells
        return band
