"""What is compared: how a run starts, what its units are, and whether a monitor mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lop.lab.xor_pair import network, starts
from lop.lab.xor_pair.network import Activation
from lop.lab.xor_pair.starts import Starts
from lop.lab.xor_pair.training import Trained, Watch, train

MARGINS = (0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Strategy:
    """start: (seed, runs) to the first weights. mend: the monitor acts while training, and no run stalls."""

    name: str
    meaning: str
    start: Callable[[int, int], Starts] = starts.normal
    activation: Activation = network.RELU
    max_epochs: int = 800
    mend: bool = False

    def train(self, begun: Starts, watch: Watch | None = None) -> Trained:
        """Trains every start to its end."""
        return train(begun.parameters, self.activation, self.max_epochs, self.mend, watch)


STRATEGIES = (
    Strategy("normal", "weights from N(0, 0.5²), biases 0, whatever comes"),
    Strategy("reinit", "drawn again until no point is dead", starts.redrawn(starts.no_dead_point)),
    *(
        Strategy(
            f"reinit_margin_{epsilon}",
            f"drawn again until every point's best pre-activation is above {epsilon} (the published code)",
            starts.redrawn(starts.best_above(epsilon)),
        )
        for epsilon in MARGINS
    ),
    *(
        Strategy(
            f"reinit_distance_{epsilon}",
            f"drawn again until no point is dead or nearer than {epsilon} to a hyperplane (the published text)",
            starts.redrawn(starts.distances_from(epsilon)),
        )
        for epsilon in MARGINS
    ),
    Strategy("monitor", "as normal; a monitor revives points and fetches hyperplanes", max_epochs=2000, mend=True),
    Strategy("mirror", "w₂ = −w₁, b₂ = −b₁", starts.mirror),
    Strategy("bounded", "hyperplanes at 1.4 from the origin, facing it", starts.bounded, max_epochs=2000),
    Strategy("leaky_0.01", "as normal, leaky ReLU of slope 0.01", activation=network.leaky(0.01)),
    Strategy("leaky_0.1", "as normal, leaky ReLU of slope 0.1", activation=network.leaky(0.1)),
    Strategy("elu", "as normal, ELU", activation=network.ELU),
    Strategy("absolute", "as normal, absolute value", activation=network.ABSOLUTE),
)


def strategy(name: str) -> Strategy:
    """The strategy of this name."""
    return next(one for one in STRATEGIES if one.name == name)
