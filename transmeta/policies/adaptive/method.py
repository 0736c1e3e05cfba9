"""The adaptive portfolio as a method: learns rows and a network from the known targets, starts searches.

Source: the posterior-weighted portfolio extends the greedy portfolios of Xu et al. (Hydra, 2010) and Feurer et al.
(Auto-sklearn 2.0, 2022) by weights of the known targets.
Letters: T known targets, C configurations, K rungs, M members.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.policies.adaptive.cases import Case, interval_width, surely_best
from transmeta.policies.adaptive.costs import CostModel
from transmeta.policies.adaptive.knowledge import features_of, part_costs, present_of, regret_table
from transmeta.policies.adaptive.learned import AdaptiveLearned
from transmeta.policies.adaptive.protocol import Array, Curves, Flags
from transmeta.policies.adaptive.rows import at_rungs
from transmeta.policies.adaptive.session import DEFAULT, FEATURED, PORTFOLIO, Knobs
from transmeta.policies.network.encoding import Encoder
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.network.learner import fold_without, parts_of
from transmeta.policies.network.training import Fold, TrainingPlan, train
from transmeta.policies.table import RegretTable
from transmeta.training.seeding import derive_seed

FEWEST_UNITS: Final = 3
"""With fewer groups of known targets nothing can be left out, so the portfolio's knobs stand."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveMethod:
    """Learns the adaptive portfolio.

    Attributes:
        name: in tables; ablations have others.
        knobs: None for the usual ones. Choosing them anew on left-out known targets was tried and did not help.
        by_domain: whether whole domains are left out to see how far predictions go wrong, as on a new domain.
        has_network, has_pair_features, has_target_features: whether these are used.
        has_samples: whether posterior samples are among the rows.
        has_weights: whether known targets count by what was observed, rather than alike.
        has_cost: whether moves are valued for their cost.
        has_curves: whether runs may be left early and gone on with.
    """

    name: str = "adaptive"
    knobs: Knobs | None = None
    by_domain: bool = False
    has_network: bool = True
    has_pair_features: bool = True
    has_target_features: bool = True
    has_samples: bool = True
    has_weights: bool = True
    has_cost: bool = True
    has_curves: bool = True
    plan: TrainingPlan = dataclasses.field(default_factory=TrainingPlan)

    @property
    def is_random(self) -> bool:
        """Whether the seed matters: not for the choices."""
        return False

    def learn(self, curves: Curves, *, seed: int) -> AdaptiveLearned:
        """Returns what is learned from `curves`; the seed is that of the network."""
        return self.study(curves, seed=seed).learned

    def study(self, curves: Curves, *, seed: int) -> "Study":
        """Returns what is learned from `curves`, with the left-out targets that it was checked on."""
        curves = self._seen(curves)
        table = regret_table(curves)
        rungs = at_rungs(curves.regret, curves.steps)
        units = curves.domains if self.by_domain and len(set(curves.domains)) > FEWEST_UNITS else curves.groups
        masks = parts_of(units)
        ensembles, folds, encoder = self._networks(curves, table, masks, seed=seed)
        learned = AdaptiveLearned(
            sources=curves.sources,
            table=table,
            rungs=rungs,
            knobs=self._knobs(has_network=bool(ensembles), units=len(masks)),
            encoder=encoder,
            ensemble=ensembles[0] if ensembles else None,
            costs=CostModel.fit(table),
            parts=part_costs(curves),
            residuals=_residuals(table, masks, ensembles, folds),
            width=1.0,
            feature_names=tuple(curves.target_features),
            has_pair_features=self.has_pair_features,
        )
        if len(masks) < FEWEST_UNITS:
            return Study(learned=learned, cases=())
        cases = tuple(
            learned.case(
                curves,
                int(t),
                known=~mask,
                ensemble=ensembles[1 + i] if ensembles else None,
                inputs=folds[1 + i].read(int(t)) if ensembles else None,
            )
            for i, mask in enumerate(masks)
            for t in np.flatnonzero(mask)
        )
        knobs = self.knobs or _without_harm(learned.knobs, cases)
        return Study(learned=dataclasses.replace(learned, knobs=knobs, width=interval_width(cases)), cases=cases)

    def _knobs(self, *, has_network: bool, units: int) -> Knobs:
        """Returns the knobs without the parts that are taken out."""
        if self.knobs is not None:
            return self.knobs
        if units < FEWEST_UNITS:
            return PORTFOLIO
        knobs = FEATURED if has_network else DEFAULT
        if not self.has_samples:
            knobs = dataclasses.replace(knobs, sampled=0.0)
        if not self.has_weights:
            knobs = dataclasses.replace(knobs, beta=0.0)
        if not self.has_cost:
            knobs = dataclasses.replace(knobs, exponents=(0.0,))
        return knobs if self.has_curves else dataclasses.replace(knobs, is_partial=False)

    def _seen(self, curves: Curves) -> Curves:
        if not self.has_pair_features:
            curves = dataclasses.replace(curves, pair_features={})
        if not self.has_target_features:
            curves = dataclasses.replace(curves, target_features={})
        return curves

    def _networks(
        self, curves: Curves, table: RegretTable, masks: Sequence[Flags], *, seed: int
    ) -> tuple[Sequence[Ensemble], Sequence[Fold], Encoder | None]:
        has_features = curves.sources is not None and curves.strategies is not None and curves.target_features
        if not self.has_network or not has_features or len(masks) < FEWEST_UNITS:
            return (), (), None
        encoder = Encoder.fit(table)
        known = [features_of(present_of(curves, t), sources=curves.sources) for t in range(len(table.targets))]
        base = encoder.encode_all(known, table.arms)
        everything = np.ones(len(table.targets), dtype=np.bool_)
        folds: list[Fold] = [
            fold_without(table, base, is_known=everything, members=self.plan.members),
            *(fold_without(table, base, is_known=~mask, members=self.plan.fold_members) for mask in masks),
        ]
        ensembles = train(
            folds, regret=table.regret, groups=curves.groups, plan=self.plan, seed=derive_seed(seed, "network")
        )
        return ensembles, folds, encoder


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """What was learned, and each known target as if it had not been known; none where nothing could be left out."""

    learned: AdaptiveLearned
    cases: tuple[Case, ...]


def _without_harm(knobs: Knobs, cases: Sequence[Case]) -> Knobs:
    """Returns `knobs` where they are surely better than the portfolio's on known targets, else what is left of them.

    First the network and the samples go, as where features say nothing; then partial runs; then the weights.
    """
    plain = dataclasses.replace(knobs, blend=0.0, sampled=0.0)
    tiers = [[plain, dataclasses.replace(plain, is_partial=False)]]
    return surely_best(cases, tiers if knobs == plain else [[knobs], *tiers], otherwise=PORTFOLIO)


def _residuals(
    table: RegretTable, masks: Sequence[Flags], ensembles: Sequence[Ensemble], folds: Sequence[Fold]
) -> Array:
    """Returns regret less what networks that had not seen the target predicted, (T, C); NaN where not tried."""
    residuals = np.full(table.regret.shape, np.nan)
    for i, mask in enumerate(masks if ensembles else ()):
        for t in np.flatnonzero(mask):
            residuals[t] = table.regret[t] - ensembles[1 + i].regret(folds[1 + i].read(int(t))).mean(axis=0)
    return residuals
