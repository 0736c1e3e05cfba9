"""The policy that decides by the network's predictions and by the nearest known targets together."""

import dataclasses
from collections.abc import Sequence
from typing import final

import numpy as np

from transmeta.core.experience import History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.policies.forecast import Rows
from transmeta.policies.greedy import filled, situation
from transmeta.policies.network.encoding import Encoder
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.network.rows import Knobs, predicted, weighted
from transmeta.policies.ranking import suggest_greedily
from transmeta.policies.similarity import distances
from transmeta.policies.table import Array, KnownTarget, RegretTable


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What training did to L(θ), the expected regret of π_θ, on targets that θ was not trained on.

    Attributes:
        loss_initial: with random θ.
        loss_final: with the trained θ, leaving out the data sets of each fold in turn.
    """

    loss_initial: float
    loss_final: float


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """Greedy over rows of regret: the members' predictions for this target (λ) and the known targets (1 − λ).

    With λ = 0, τ = ∞ and β = 0 it is the greedy portfolio.

    Attributes:
        progress: None where there were too few data sets to leave one out.
    """

    table: RegretTable
    proposer: Proposer
    encoder: Encoder
    ensemble: Ensemble
    knobs: Knobs
    progress: Progress | None = None

    @property
    def name(self) -> str:
        """`network`."""
        return "network"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms, in greedy order over the weighted rows, then fresh ones."""
        now = situation(self.table, features, history)
        known, squared = filled(self.table.regret), distances(self.table.targets, features)
        beliefs = choices = variance = np.zeros((0, len(self.table.arms)))
        if self.knobs.blend > 0:
            is_allowed = now.is_available.copy()
            is_allowed[list(now.observed)] = True
            inputs = self.encoder.encode(features, self.table.arms)
            beliefs, choices = predicted(self.ensemble, inputs, is_allowed=is_allowed)
            variance = self.ensemble.variance(inputs)
        rows = weighted(
            known,
            squared=squared,
            members=choices,
            observed=now.observed,
            utility=now.utility,
            knobs=self.knobs,
        )
        believed = Rows(
            regret=np.concatenate([known, beliefs]),
            weights=rows.weights,
            variance=np.concatenate([np.zeros_like(known), variance]),
        )
        return suggest_greedily(
            self.table,
            rows,
            beliefs=believed,
            features=features,
            now=now,
            proposer=self.proposer,
            count=count,
            seed=seed,
        )


def loss_on(policy: NetworkPolicy, *, table: RegretTable, rows: Sequence[int]) -> float:
    """Returns L(θ) = mean over the targets `rows` of `table` of E_{c∼π_θ}[g(c)], over the arms tried there.

    Data sets count alike. `table` may hold other targets and arms than the policy knows.
    """
    losses = []
    for row in rows:
        columns = np.flatnonzero(table.is_tried[row])
        arms = [table.arms[column] for column in columns]
        inputs = policy.encoder.encode(features_of(table.targets[row]), arms)
        losses.append(expected_regret(policy.ensemble, inputs, regret=table.regret[row, columns]))
    return mean_by_dataset(losses, datasets=[table.targets[row].dataset for row in rows])


def expected_regret(ensemble: Ensemble, inputs: Array, *, regret: Array) -> float:
    """Returns E_{c∼π_θ}[g(c)] over arms with `inputs` (A, F) and `regret` (A,)."""
    return float(ensemble.choice(inputs) @ regret)


def mean_by_dataset(losses: Sequence[float], *, datasets: Sequence[str]) -> float:
    """Returns the mean over data sets of the mean over their targets."""
    groups: dict[str, list[float]] = {}
    for loss, dataset in zip(losses, datasets, strict=True):
        groups.setdefault(dataset, []).append(loss)
    return float(np.mean([np.mean(group) for group in groups.values()]))


def features_of(target: KnownTarget) -> MetaFeatures:
    """Returns what was known of `target` before its trials."""
    return MetaFeatures(target_id=target.id, target=target.features, pairs=target.pairs)
