"""Learns θ and the knobs of the network policy from experience."""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.core.experience import Experience
from transmeta.core.space import Proposer
from transmeta.policies.network.encoding import Encoder, arm_means
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.network.policy import (
    NetworkPolicy,
    Progress,
    expected_regret,
    features_of,
    loss_on,
    mean_by_dataset,
)
from transmeta.policies.network.rows import PORTFOLIO, predicted
from transmeta.policies.network.training import Fold, TrainingPlan, train
from transmeta.policies.network.tuning import LeftOut, choose_knobs
from transmeta.policies.similarity import distances
from transmeta.policies.table import Array, RegretTable
from transmeta.training.seeding import derive_seed

MOST_FOLDS: Final = 8
FEWEST_DATASETS: Final = 2


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLearner:
    """Trains the ensemble on all known targets, and small ensembles without each fold to choose the knobs.

    Deterministic by `seed`; the policy depends on the experience, not on the policy before it or the order of rows.
    About 10 CPU seconds for 60 targets × 75 arms on one core.
    """

    proposer: Proposer
    seed: int = 0
    plan: TrainingPlan = dataclasses.field(default_factory=TrainingPlan)

    def initial(self) -> NetworkPolicy:
        """Returns the policy with random θ that knows no target."""
        return self.untrained(())

    def untrained(self, experience: Sequence[Experience]) -> NetworkPolicy:
        """Returns the policy with random θ, and the portfolio's knobs, over the table of `experience`."""
        table = RegretTable.from_experience(experience)
        return self._policy(table, Encoder.fit(table))

    def update(self, policy: NetworkPolicy, experience: Sequence[Experience]) -> NetworkPolicy:
        """Returns the policy learned from all of `experience`; `policy` gives the proposer."""
        table = RegretTable.from_experience(experience)
        encoder = Encoder.fit(table)
        start = dataclasses.replace(self._policy(table, encoder), proposer=policy.proposer)
        if len(table.datasets) < FEWEST_DATASETS:
            return start
        base = encoder.encode_all([features_of(target) for target in table.targets], table.arms)
        is_known = np.ones(len(table.targets), dtype=np.bool_)
        parts = parts_of([target.dataset for target in table.targets])
        folds = [
            fold_without(table, base, is_known=is_known, members=self.plan.members),
            *(fold_without(table, base, is_known=~part, members=self.plan.fold_members) for part in parts),
        ]
        datasets = [target.dataset for target in table.targets]
        ensemble, *others = train(
            folds, regret=table.regret, groups=datasets, plan=self.plan, seed=derive_seed(self.seed, "network")
        )
        cases = [
            case
            for part, fold, other in zip(parts, folds[1:], others, strict=True)
            for case in _left_out(table, part, fold=fold, ensemble=other)
        ]
        losses = [
            (target.dataset, expected_regret(other, fold.read(row)[tried], regret=table.regret[row, tried]))
            for part, fold, other in zip(parts, folds[1:], others, strict=True)
            for row, target in enumerate(table.targets)
            if part[row]
            for tried in (table.is_tried[row],)
        ]
        return dataclasses.replace(
            start,
            ensemble=ensemble,
            knobs=choose_knobs(cases),
            progress=Progress(
                loss_initial=loss_on(start, table=table, rows=range(len(table.targets))),
                loss_final=mean_by_dataset([loss for _, loss in losses], datasets=[dataset for dataset, _ in losses]),
            ),
        )

    def _policy(self, table: RegretTable, encoder: Encoder) -> NetworkPolicy:
        ensemble = Ensemble.random(
            members=self.plan.members,
            inputs=encoder.width,
            hidden=self.plan.hidden,
            seed=derive_seed(self.seed, "initial"),
        )
        return NetworkPolicy(table=table, proposer=self.proposer, encoder=encoder, ensemble=ensemble, knobs=PORTFOLIO)


def parts_of(units: Sequence[str]) -> tuple[npt.NDArray[np.bool_], ...]:
    """Returns at most eight masks (T,) that share out the distinct `units` (T,); each is left out once."""
    distinct = sorted(set(units))
    count = min(MOST_FOLDS, len(distinct))
    fold_of = {unit: index % count for index, unit in enumerate(distinct)}
    folds = np.array([fold_of[unit] for unit in units])
    return tuple(folds == index for index in range(count))


def fold_without(table: RegretTable, base: Array, *, is_known: npt.NDArray[np.bool_], members: int) -> Fold:
    """Returns what members learn from that may see the targets `is_known`.

    The prior of an arm on a target never holds the target's own data set: on a new target it cannot either.
    The constants of standardisation are those of all targets: they hold no scores.
    """
    priors = np.empty(base.shape[:2])
    datasets = np.array([target.dataset for target in table.targets])
    for dataset in table.datasets:
        others = table.regret[is_known & (datasets != dataset)]
        cells = others[~np.isnan(others)]
        overall = float(cells.mean()) if cells.size else 1.0
        priors[datasets == dataset] = arm_means(others) - overall
    return Fold(inputs=base, priors=priors, is_known=is_known, members=members)


def _left_out(
    table: RegretTable, part: npt.NDArray[np.bool_], *, fold: Fold, ensemble: Ensemble
) -> tuple[LeftOut, ...]:
    """Returns the cases of one fold, seen with what is known without it."""
    known = [target for target, is_left_out in zip(table.targets, part, strict=True) if not is_left_out]
    return tuple(
        LeftOut(
            dataset=table.targets[row].dataset,
            regret=table.regret[row],
            utility=table.utility[row],
            known=table.regret[~part],
            squared=distances(known, features_of(table.targets[row])),
            members=predicted(ensemble, fold.read(int(row)), is_allowed=table.is_tried[row])[1],
        )
        for row in np.flatnonzero(part)
    )
