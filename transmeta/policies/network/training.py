"""Trains θ by the expected regret of its choices: θ* = argmin_θ Σ_t E_{c∼π_θ(·|t)}[g_t(c)], exact over the table.

Members of several folds are trained side by side, as one batch of matrix products.
Letters: K folds, M members in all, T targets, A arms, F inputs.
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
        inputs: (T, A, F).
        is_known: (T,) targets that may be learned from.
        members: how many.
    """

    inputs: Array
    is_known: npt.NDArray[np.bool_]
    members: int


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
    weights = np.concatenate([_bootstrap(fold, groups, rng) for fold in folds])
    owner = torch.from_numpy(np.repeat(np.arange(len(folds)), counts))
    inputs = torch.from_numpy(np.stack([fold.inputs for fold in folds]).astype(np.float32))
    target = torch.from_numpy(np.nan_to_num(regret, nan=0.0).astype(np.float32))
    is_tried = torch.from_numpy(~np.isnan(regret))
    with _one_thread():
        theta = {
            field.name: torch.from_numpy(getattr(start, field.name).copy()).requires_grad_()
            for field in dataclasses.fields(start)
        }
        optimiser = torch.optim.AdamW(list(theta.values()), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        for step in range(plan.steps):
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate * 0.5 * (1 + np.cos(np.pi * step / plan.steps))
            rows, columns = _block(len(regret), MOST_TARGETS, rng), _block(regret.shape[1], MOST_ARMS, rng)
            loss = _loss(
                theta,
                inputs[:, rows[:, None], columns][owner],
                regret=target[rows][:, columns],
                is_tried=is_tried[rows][:, columns],
                weights=torch.from_numpy(weights[:, rows.numpy()].astype(np.float32)),
                plan=plan,
                generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
    trained = Ensemble(**{name: value.detach().numpy() for name, value in theta.items()})
    ends = np.cumsum(counts)
    return tuple(trained.take(slice(int(end - count), int(end))) for end, count in zip(ends, counts, strict=True))


def _loss(
    theta: dict[str, Tensor],
    inputs: Tensor,
    *,
    regret: Tensor,
    is_tried: Tensor,
    weights: Tensor,
    plan: TrainingPlan,
    generator: torch.Generator,
) -> Tensor:
    """Returns the sum of the members' losses; `inputs` is (M, T, A, F)."""
    members, targets, arms, width = inputs.shape
    keep = torch.rand(members, 1, width, generator=generator) >= plan.dropout
    flat = inputs.reshape(members, targets * arms, width) * (keep / (1 - plan.dropout))
    first = torch.tanh(torch.baddbmm(theta["input_bias"], flat, theta["input_weights"]))
    second = torch.tanh(torch.baddbmm(theta["hidden_bias"], first, theta["hidden_weights"]))
    out = torch.baddbmm(theta["output_bias"], second, theta["output_weights"])
    logit, mean, log_deviation = out.reshape(members, targets, arms, 3).unbind(-1)
    # A target without a tried arm in this block would give NaN: its logits stay finite, and its weight is zero.
    has_any = is_tried.any(dim=1)
    share = weights * has_any
    share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-9)
    choice = torch.softmax(logit.masked_fill(~is_tried, -1e9), dim=2)
    expected = (choice * regret).sum(dim=2)
    log_deviation = log_deviation.clamp(LEAST_LOG_DEVIATION, MOST_LOG_DEVIATION)
    likelihood = 0.5 * ((mean - regret) / log_deviation.exp()) ** 2 + log_deviation
    cells = is_tried.sum(dim=1).clamp_min(1)
    surprise = (likelihood * is_tried).sum(dim=2) / cells
    return ((expected + plan.regression * surprise) * share).sum()


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
