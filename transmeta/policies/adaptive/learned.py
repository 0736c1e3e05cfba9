"""What the adaptive portfolio has learned, without torch: rows, network, costs and knobs; starts searches.

Letters: T known targets, C configurations, K rungs, M members.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.core.experience import OPERATIONS, MetaFeatures
from transmeta.core.trial import Arm
from transmeta.policies.adaptive.cases import Case
from transmeta.policies.adaptive.costs import CostModel, ExpectedCost, Paid
from transmeta.policies.adaptive.knowledge import features_of, present_of
from transmeta.policies.adaptive.named import Named, named_present
from transmeta.policies.adaptive.posterior import SAMPLES, Beliefs, covariance_of
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Indices, Present
from transmeta.policies.adaptive.rows import at_rungs, cover, rung_gaps, rung_steps, without_gaps
from transmeta.policies.adaptive.session import AdaptiveSession, Knobs, Spending
from transmeta.policies.forecast import Normal, level_of
from transmeta.policies.greedy import filled
from transmeta.policies.network.encoding import Encoder
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.table import WORST, RegretTable, is_scratch

NOISE: Final = 0.02
"""Variance of a full run's regret between seeds."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptiveLearned:
    """What is known: the targets' regrets at the rungs, (T, C, K), the network, the costs and the knobs.

    Attributes:
        parts: (C, K) share of a run's cost that is paid at each rung; where NaN, the share of the steps is taken.
    """

    sources: tuple[str, ...] | None
    table: RegretTable
    rungs: Array
    knobs: Knobs
    encoder: Encoder | None
    ensemble: Ensemble | None
    costs: CostModel
    parts: Array
    residuals: Array
    width: float
    feature_names: tuple[str, ...]
    has_pair_features: bool

    @property
    def whole(self) -> Array:
        """The final regrets without gaps, (T, C)."""
        return filled(self.table.regret)

    def with_arms(self, arms: Sequence[Arm]) -> "AdaptiveLearned":
        """Returns the same with a column more for each of `arms`, which nobody tried: the network alone speaks of them.

        They are taken to cost what others like them do.
        """
        table, gap = self.table, np.full((len(self.table.targets), len(arms)), np.nan)
        return dataclasses.replace(
            self,
            sources=(*(self.sources or ()), *(arm.source for arm in arms)),
            table=dataclasses.replace(
                table,
                arms=(*table.arms, *arms),
                utility=np.concatenate([table.utility, gap], axis=1),
                regret=np.concatenate([table.regret, gap], axis=1),
                cost_s=np.concatenate([table.cost_s, gap], axis=1),
            ),
            rungs=np.concatenate([self.rungs, np.repeat(gap[:, :, None], self.rungs.shape[2], axis=2)], axis=1),
            costs=self.costs.widened(arms),
            parts=np.concatenate([self.parts, np.full((len(arms), self.parts.shape[1]), np.nan)]),
            residuals=np.concatenate([self.residuals, gap], axis=1),
        )

    def start(
        self,
        present: Present,
        *,
        seed: int,
        paid: Paid | None = None,
        overhead_s: float = 0.0,
        is_partial: bool | None = None,
    ) -> AdaptiveSession:
        """Returns a search on the target; deterministic.

        Args:
            paid: what runs so far have cost, which tells how fast this machine is.
            overhead_s: what each run takes beside its cost, where cost counts.
            is_partial: whether runs may be parts; None for what the knobs say.
        """
        columns = np.flatnonzero(present.is_allowed)
        case = _case_of(self, named_present(present))
        steps = rung_steps(present.steps[columns])
        case = dataclasses.replace(case, steps=steps)
        cost = self.costs.predict(present.target_features, sizes=present.pair_features.get(OPERATIONS))
        if paid is not None:
            cost = dataclasses.replace(cost, full=cost.after(paid))
        spending = self._spending(present, columns, steps, cost=cost.take(columns), overhead_s=overhead_s)
        knobs = self.knobs if is_partial is None else dataclasses.replace(self.knobs, is_partial=is_partial)
        return case.session(knobs, columns=columns, spending=spending)

    def meet(self, present: Present) -> Case:
        """Returns what is known of a new target before anything runs on it; its steps are not filled in."""
        features = features_of(self._seen(present), sources=self.sources)
        everything = np.ones(len(self.rungs), dtype=np.bool_)
        columns = np.flatnonzero(present.is_allowed)
        return self._case(features, columns, known=everything, members=self._members(features))

    def case(self, curves: Curves, t: int, *, known: Flags, ensemble: Ensemble | None, inputs: Array | None) -> Case:
        """Returns a known target as if it were new, with the known targets `known` (T,) alone.

        Args:
            inputs: (C, F) of `ensemble` on it; both None where there is no network.
        """
        members = np.zeros((0, len(self.table.arms)))
        if ensemble is not None and inputs is not None:
            members = ensemble.regret(inputs)
        return self._replayable(curves, t, known=known, members=members, truth=self.rungs[t])

    def unseen(self, curves: Curves, t: int) -> Case:
        """Returns a target that is not among the known ones, with what was recorded on it.

        Args:
            curves: with a column for each configuration of the table, in its order.
        """
        features = features_of(self._seen(present_of(curves, t)), sources=self.sources)
        everything = np.ones(len(self.rungs), dtype=np.bool_)
        truth = at_rungs(curves.regret[t : t + 1], curves.steps[t : t + 1])[0]
        return self._replayable(curves, t, known=everything, members=self._members(features), truth=truth)

    def _replayable(self, curves: Curves, t: int, *, known: Flags, members: Array, truth: Array) -> Case:
        present = present_of(curves, t)
        columns = np.flatnonzero(present.is_allowed)
        features = features_of(present, sources=self.sources)
        return dataclasses.replace(
            self._case(features, columns, known=known, members=members),
            group=curves.groups[t],
            truth=truth[columns],
            utility=_utility(curves, t, columns, regret=truth[columns]),
            steps=rung_steps(present.steps[columns]),
        )

    def _members(self, features: MetaFeatures) -> Array:
        """Returns the network's predictions, (M, C); no rows where there is none."""
        if self.ensemble is None or self.encoder is None:
            return np.zeros((0, len(self.table.arms)))
        return self.ensemble.regret(self.encoder.encode(features, self.table.arms))

    def heard(self, columns: Indices, *, known: Flags | None = None) -> Flags:
        """Returns which known targets, of `known` (T,), tried enough of `columns` to speak for them, (T,)."""
        is_allowed = np.zeros(len(self.table.arms), dtype=np.bool_)
        is_allowed[columns] = True
        everything = np.ones(len(self.rungs), dtype=np.bool_) if known is None else known
        is_heard = everything & cover(self.rungs, is_allowed)
        return is_heard if is_heard.any() else everything

    def _case(self, features: MetaFeatures, columns: Indices, *, known: Flags, members: Array) -> Case:
        is_heard = self.heard(columns, known=known)
        rungs = self.rungs[is_heard][:, columns]
        gaps = rung_gaps(rungs)
        whole = without_gaps(rungs)
        expected = members[:, columns].mean(axis=0) if len(members) else whole[:, :, -1].mean(axis=0)
        residuals = self.residuals[is_heard][:, columns] if len(members) else rungs[:, :, -1] - expected
        level, log_scale = self._level(features, is_heard)
        predicted = np.clip(members[:, columns][:, :, None] + gaps, 0.0, WORST)
        return Case(
            group="",
            known=whole,
            members=predicted,
            truth=np.zeros((0, 0)),
            utility=np.zeros((0, 0)),
            steps=np.zeros((0, 0), dtype=np.int64),
            beliefs=Beliefs(
                mean=-expected,
                covariance=covariance_of(residuals),
                noise=_noise(rungs),
                gaps=gaps,
                level=level,
                log_scale=log_scale,
                width=self.width,
                normal=np.random.default_rng(0).standard_normal((SAMPLES, len(columns))),
            ),
            reference=self._reference(columns, known),
        )

    def _reference(self, columns: Indices, known: Flags) -> Flags:
        """Returns which of `columns` train from scratch, (C,), if nobody tried any of the others; else none."""
        from_scratch = np.array([is_scratch(arm.source) for arm in self.table.arms], dtype=np.bool_)[columns]
        is_tried = np.asarray((~np.isnan(self.table.regret[known][:, columns])).any(axis=0))
        return from_scratch if not is_tried[~from_scratch].any() else np.zeros_like(from_scratch)

    def _level(self, features: MetaFeatures, is_heard: Flags) -> tuple[Normal, Normal]:
        """Returns the present target's best value and the logarithm of its scale, by ridge regression."""
        return level_of(_heard_table(self.table, tuple(is_heard.tolist())), features.target, features.pairs)

    def _seen(self, present: Present) -> Present:
        if not self.has_pair_features:
            present = dataclasses.replace(present, pair_features={})
        return dataclasses.replace(
            present,
            target_features={
                name: present.target_features[name] for name in self.feature_names if name in present.target_features
            },
        )

    def _spending(
        self, present: Present, columns: Indices, steps: Indices, *, cost: ExpectedCost, overhead_s: float
    ) -> Spending:
        shares = steps / np.maximum(present.steps[columns], 1)[:, None]
        parts = np.where(np.isnan(self.parts[columns]), shares, self.parts[columns])
        allowance = present.allowance
        if allowance.cost_s is None:
            budget = allowance.evaluations or np.inf
            return Spending(cumulative=shares, budget=budget, cost=cost, parts=parts, is_actual=False)
        cumulative = parts * cost.full[:, None] + overhead_s
        return Spending(cumulative=cumulative, budget=allowance.cost_s, cost=cost, parts=parts, is_actual=True)


@functools.lru_cache(maxsize=4)
def _case_of(learned: AdaptiveLearned, present: Named[Present]) -> Case:
    """Returns `meet`, made once for each target: a search asks for suggestions again and again."""
    return learned.meet(present.value)


@functools.lru_cache(maxsize=16)  # the targets of a fold hear the same ones
def _heard_table(table: RegretTable, is_heard: tuple[bool, ...]) -> RegretTable:
    return table if all(is_heard) else table.take(np.flatnonzero(is_heard))


def _noise(rungs: Array) -> Array:
    """Returns the variance with which a value at a rung tells the final one, (C, K), over the known targets."""
    difference = rungs - rungs[:, :, -1:]
    counts = np.maximum((~np.isnan(difference)).sum(axis=(0, 1)), 1)
    mean = np.nansum(difference, axis=(0, 1)) / counts
    spread = np.nansum((difference - mean) ** 2, axis=(0, 1)) / counts
    return np.broadcast_to(NOISE + spread, rungs.shape[1:])


def _utility(curves: Curves, t: int, columns: Indices, *, regret: Array) -> Array:
    """Returns the values at the rungs of a known target, (C, K); NaN where it had diverged, −∞ before the first one.

    Args:
        regret: (C, K) at the rungs.
    """
    values = at_rungs(curves.values[t : t + 1, columns], curves.steps[t : t + 1, columns])[0]
    is_measured = ~np.isnan(regret)
    is_down = np.isnan(values) & is_measured
    is_down[:, -1] |= curves.failed[t, columns]
    return np.where(is_down, np.nan, np.where(is_measured, values, -np.inf))
