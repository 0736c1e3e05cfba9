"""g_θ: small networks side by side, evaluated in NumPy so that using a policy needs no torch.

Letters: M members, A arms, F inputs, H hidden units.
"""

import dataclasses
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.policies.table import WORST, Array

Weights = npt.NDArray[np.float32]

OUTPUTS: Final = 3
"""Logit of the choice, expected regret, and the logarithm of its deviation."""
LEAST_LOG_DEVIATION: Final = -3.0
MOST_LOG_DEVIATION: Final = 1.0


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ensemble:
    """Weights θ of M members: F → H → H → 3 with tanh.

    Attributes:
        input_weights, hidden_weights, output_weights: (M, F, H), (M, H, H), (M, H, 3).
        input_bias, hidden_bias, output_bias: (M, 1, H), (M, 1, H), (M, 1, 3).
    """

    input_weights: Weights
    input_bias: Weights
    hidden_weights: Weights
    hidden_bias: Weights
    output_weights: Weights
    output_bias: Weights

    @classmethod
    def random(cls, *, members: int, inputs: int, hidden: int, seed: int) -> "Ensemble":
        """Returns untrained weights, normal with variance 1 / fan-in, the same for the same seed."""
        rng = np.random.default_rng(seed)

        def layer(rows: int, columns: int) -> Weights:
            drawn = rng.standard_normal((members, rows, columns)) / np.sqrt(max(rows, 1))
            return np.asarray(drawn, dtype=np.float32)

        def bias(columns: int) -> Weights:
            return np.zeros((members, 1, columns), dtype=np.float32)

        return cls(
            input_weights=layer(inputs, hidden),
            input_bias=bias(hidden),
            hidden_weights=layer(hidden, hidden),
            hidden_bias=bias(hidden),
            output_weights=layer(hidden, OUTPUTS),
            output_bias=bias(OUTPUTS),
        )

    @property
    def members(self) -> int:
        """M."""
        return len(self.input_weights)

    def take(self, members: slice) -> "Ensemble":
        """Returns some of the members."""
        return Ensemble(**{field.name: getattr(self, field.name)[members] for field in dataclasses.fields(self)})

    def outputs(self, inputs: Array) -> Array:
        """Returns (M, A, 3) for inputs (A, F)."""
        first = np.tanh(inputs.astype(np.float32) @ self.input_weights + self.input_bias)
        second = np.tanh(first @ self.hidden_weights + self.hidden_bias)
        return np.asarray(second @ self.output_weights + self.output_bias, dtype=np.float64)

    def choice(self, inputs: Array) -> Array:
        """Returns π_θ: the members' mean probability of each arm, (A,)."""
        logits = self.outputs(inputs)[:, :, 0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray((powers / powers.sum(axis=1, keepdims=True)).mean(axis=0), dtype=np.float64)

    def regret(self, inputs: Array) -> Array:
        """Returns each member's expected regret of each arm, (M, A), in [0, 3]."""
        return np.clip(self.outputs(inputs)[:, :, 1], 0.0, WORST)

    def variance(self, inputs: Array) -> Array:
        """Returns the variance that each member expects of each arm's regret, (M, A)."""
        return np.exp(2 * np.clip(self.outputs(inputs)[:, :, 2], LEAST_LOG_DEVIATION, MOST_LOG_DEVIATION))
