"""Trains θ by the expected regret of its choices: θ* = argmin_θ Σ_t E_{c∼π_θ(·|t)}[g_t(c)], exact over the table.

Members of several folds are trained side by side, as one batch of matrix products.
Letters: K folds, M members in all, T targets, A arms, N cells (an arm on a target), F inputs, the prior being the last.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transmeta.policies.network.ensemble import LEAST_LOG_DEVIATION, MOST_LOG_DEVIATION, Ensemble
from transmeta.policies.table import Array
from transmeta.training.optimisers import AdamW

MOST_TARGETS: Final = 32
MOST_ARMS: Final = 48
"""Larger tables are read in random blocks of this size, a new one for each step; the noise also regularises."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How θ is trained.

    Attributes:
        members: of the ensemble.
        fold_members: of the ensembles that are trained without a fold, to choose the knobs on it.
        hidden: units in each of the two hidden layers.
        regression: weight of the Gaussian negative log likelihood of the regret, beside the expected regret.
        dropout: share of the inputs that a member does not see in a step.
    """

    members: int = 5
    fold_members: int = 2
    hidden: int = 32
    steps: int = 500
    learning_rate: float = 0.01
    weight_decay: float = 0.03
    regression: float = 0.3
    dropout: float = 0.1


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """What some members are trained on.

    Attributes:
        inputs: (T, A, F), the same array in all folds. The last input stands for the prior, and is not read.
        priors: (T, A) what the last input is in this fold.
        is_known: (T,) targets that may be learned from.
        members: how many.
    """

    inputs: Array
    priors: Array
    is_known: npt.NDArray[np.bool_]
    members: int

    def read(self, t: int) -> Array:
        """Returns the inputs of a target, (A, F)."""
        return np.concatenate([self.inputs[t, :, :-1], self.priors[t, :, None]], axis=1)


def train(
    folds: Sequence[Fold], *, regret: Array, groups: Sequence[str], plan: TrainingPlan, seed: int
) -> tuple[Ensemble, ...]:
    """Returns an ensemble for each fold. Deterministic; one thread.

    Args:
        regret: (T, A), NaN where never tried.
        groups: (T,) the targets' data sets; each member sees a bootstrap sample of them.
    """
    counts = [fold.members for fold in folds]
    start = Ensemble.random(members=sum(counts), inputs=folds[0].inputs.shape[2], hidden=plan.hidden, seed=seed)
    rng = np.random.default_rng([seed % 2**63, 1])
    table = _Table(
        inputs=torch.from_numpy(folds[0].inputs[:, :, :-1].astype(np.float32)),
        priors=torch.from_numpy(np.stack([fold.priors for fold in folds]).astype(np.float32)),
        owner=torch.from_numpy(np.repeat(np.arange(len(folds)), counts)),
        weights=torch.from_numpy(np.concatenate([_bootstrap(f, groups, rng) for f in folds]).astype(np.float32)),
        regret=torch.from_numpy(np.nan_to_num(regret, nan=0.0).astype(np.float32)),
        is_tried=torch.from_numpy(~np.isnan(regret)),
    )
    with _one_thread():
        theta = {
            field.name: torch.from_numpy(getattr(start, field.name).copy()).requires_grad_()
            for field in dataclasses.fields(start)
        }
        optimiser = AdamW(list(theta.values()), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        for step in range(plan.steps):
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate * 0.5 * (1 + np.cos(np.pi * step / plan.steps))
            rows, columns = _block(len(regret), MOST_TARGETS, rng), _block(regret.shape[1], MOST_ARMS, rng)
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            loss = _loss(theta, table.block(rows, columns), plan=plan, generator=generator)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
    trained = Ensemble(**{name: value.detach().numpy() for name, value in theta.items()})
    ends = np.cumsum(counts)
    return tuple(trained.take(slice(int(end - count), int(end))) for end, count in zip(ends, counts, strict=True))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """All that is learned from: inputs without the prior, which folds share, and their priors (K, T, A).

    Attributes:
        owner: (M,) the fold of each member.
        weights: (M, T) how much each target counts.
        regret: (T, A), 0 where not tried.
    """

    inputs: Tensor
    priors: Tensor
    owner: Tensor
    weights: Tensor
    regret: Tensor
    is_tried: Tensor

    def block(self, rows: Tensor, columns: Tensor) -> "_Block":
        """Returns some targets and arms."""
        is_tried = self.is_tried[rows][:, columns]
        row, column = is_tried.nonzero(as_tuple=True)
        at = rows[row], columns[column]
        return _Block(
            inputs=self.inputs[at],
            priors=self.priors[:, at[0], at[1]][self.owner],
            row=row,
            column=column,
            weights=self.weights[:, rows],
            regret=self.regret[rows][:, columns],
            is_tried=is_tried,
        )


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """What a step sees: of N tried cells at `row`, `column` the inputs (N, F − 1) and each member's priors (M, N).

    Attributes:
        weights: (M, T).
        regret, is_tried: (T, A).
    """

    inputs: Tensor
    priors: Tensor
    row: Tensor
    column: Tensor
    weights: Tensor
    regret: Tensor
    is_tried: Tensor


def _loss(theta: dict[str, Tensor], block: _Block, *, plan: TrainingPlan, generator: torch.Generator) -> Tensor:
    """Returns the sum of the members' losses."""
    logit, mean, log_deviation = _outputs(theta, block, dropout=plan.dropout, generator=generator).unbind(1)
    # A target without a tried arm in this block would give NaN: its logits stay finite, and its weight is zero.
    share = block.weights * block.is_tried.any(dim=1)
    share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-9)
    logits = logit.new_full((len(logit), *block.is_tried.shape), -1e9)
    logits[:, block.row, block.column] = logit
    expected = (torch.softmax(logits, dim=2) * block.regret).sum(dim=2)
    log_deviation = log_deviation.clamp(LEAST_LOG_DEVIATION, MOST_LOG_DEVIATION)
    distance = (mean - block.regret[block.row, block.column]) / log_deviation.exp()
    likelihood = 0.5 * distance**2 + log_deviation
    cells = block.is_tried.sum(dim=1).clamp_min(1)
    surprise = torch.zeros_like(expected).index_add(1, block.row, likelihood) / cells
    return ((expected + plan.regression * surprise) * share).sum()


def _outputs(theta: dict[str, Tensor], block: _Block, *, dropout: float, generator: torch.Generator) -> Tensor:
    """Returns what the members say of the cells, (M, 3, N).

    Cells are the last axis: the first layer is then one product for all members, the rest are long ones. To drop an
    input is to drop its weights.
    """
    members, width, hidden = theta["input_weights"].shape
    keep = torch.rand(members, 1, width, generator=generator) >= dropout
    weights = theta["input_weights"].mT * (keep / (1 - dropout))
    shared = weights[:, :, :-1].reshape(members * hidden, width - 1) @ block.inputs.T
    first = torch.baddbmm(shared.view(members, hidden, -1), weights[:, :, -1:], block.priors[:, None])
    first = torch.tanh(first + theta["input_bias"].mT)
    second = torch.tanh(torch.baddbmm(theta["hidden_bias"].mT, theta["hidden_weights"].mT, first))
    return torch.baddbmm(theta["output_bias"].mT, theta["output_weights"].mT, second)


def _bootstrap(fold: Fold, groups: Sequence[str], rng: np.random.Generator) -> Array:
    """Returns how often each member sees each target, (members, T); at least one group always."""
    names = sorted({group for group, is_known in zip(groups, fold.is_known, strict=True) if is_known})
    weights = np.zeros((fold.members, len(groups)))
    for member in range(fold.members):
        drawn = rng.integers(len(names), size=len(names)) if names else np.zeros(0, dtype=np.int64)
        # Half a count for all: a bootstrap that forgets a third of few targets would forget too much.
        seen = dict(zip(names, np.bincount(drawn, minlength=len(names)) + 0.5, strict=True))
        weights[member] = [
            seen[group] if is_known else 0.0 for group, is_known in zip(groups, fold.is_known, strict=True)
        ]
    return weights


def _block(size: int, most: int, rng: np.random.Generator) -> Tensor:
    indices = np.arange(size) if size <= most else np.sort(rng.permutation(size)[:most])
    return torch.from_numpy(indices)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small products are slower on several threads, and their sums would depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
