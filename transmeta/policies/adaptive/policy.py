"""The adaptive portfolio as a policy of live searches: full runs, started in the order that it would start them in."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np

from transmeta.core.experience import History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.core.trial import Arm, TrialResult, TrialStatus
from transmeta.policies.adaptive.costs import SHARED, Paid
from transmeta.policies.adaptive.effects import feature_effects
from transmeta.policies.adaptive.learned import AdaptiveLearned
from transmeta.policies.adaptive.named import Named, named_arms, named_features
from transmeta.policies.adaptive.protocol import Allowance, Array, Flags, Move, Present
from transmeta.policies.adaptive.rows import SHARES
from transmeta.policies.adaptive.session import AdaptiveSession
from transmeta.policies.forecast import are_shares, evidence_of
from transmeta.policies.greedy import Situation, situation
from transmeta.policies.ranking import hand_over
from transmeta.policies.similarity import closeness, distances, misranking, reweighted
from transmeta.policies.table import RegretTable

GRID: Final = 18
"""Steps of a full run: the least number whose ninths, where trials measure themselves, fall on the rungs."""
FIRST_RUNG: Final = max(round(SHARES[0] * GRID), 1)
COLD_ARMS: Final = 16
"""Of each source that no known target had."""
CHOICE: Final = 4
"""New arms to choose from, for each that is asked for, when the known ones are used up; `LEAST_CHOICE` at least."""
LEAST_CHOICE: Final = 64
OVERHEAD_S: Final = 0.3
"""Seconds that a trial takes beside its own, to be sent and to load its model: a hundred free ones are not free."""
NEARNESS: Final = 1.0
"""τ of the known targets that are named as evidence, whatever their weight in the decision: all of them taught it."""

Told = tuple[int, Move, float | None]
"""A column, how far it was run, and the utility there; None where it failed."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Anytime regret on known data sets that were left out of learning, by data set.

    Attributes:
        regret: of this policy.
        portfolio: of the greedy regret portfolio, on the same targets.
    """

    regret: Mapping[str, float]
    portfolio: Mapping[str, float]

    @property
    def gain(self) -> float:
        """How much less regret the policy has, on average over the data sets."""
        return float(np.mean([self.portfolio[name] - regret for name, regret in self.regret.items()]))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptivePolicy:
    """Starts what is expected to remove the most regret, given the known targets, the network and the trials so far.

    What is suggested together is chosen one after the other, as if those before were running: their expected regret
    covers. Whether a running trial goes on is for the search to say.

    Attributes:
        left_out: None where there were too few data sets to leave one out.
        is_thrifty: whether what an arm brings is held against what it costs on this target.
    """

    learned: AdaptiveLearned
    proposer: Proposer
    left_out: LeftOut | None = None
    is_thrifty: bool = False

    @property
    def name(self) -> str:
        """`adaptive`."""
        return "adaptive"

    @property
    def table(self) -> RegretTable:
        """The known targets and arms."""
        return self.learned.table

    def by_cost(self) -> "AdaptivePolicy":
        """Returns the policy for a budget of time: of two arms that promise as much, the cheaper one comes first."""
        return dataclasses.replace(self, is_thrifty=True)

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms, best first: known ones, in a search then new ones by the network, then others."""
        has_network = self.learned.ensemble is not None
        cold = self._cold(features) if has_network else ()
        wide = self._with(cold, history) if has_network else self
        now = situation(wide.table, features, history)
        known = wide._known(features, history, now, count=count)
        if has_network and history and len(known) < count:
            wide = self._with([*cold, *self._new(features, history, count=count)], history)
            now = situation(wide.table, features, history)
            known += wide._known(features, history, now, count=count - len(known), first=known)
        return known + hand_over(known, features=features, now=now, proposer=self.proposer, count=count, seed=seed)

    def expected_gain(self, features: MetaFeatures, history: History) -> float | None:
        """Returns by how much the best utility is expected to rise by the best of the known arms that is left."""
        wide = self._with(self._cold(features) if self.learned.ensemble is not None else (), history)
        now = situation(wide.table, features, history)
        if not now.observed or not self.table.targets:
            return None
        return wide._told_session(features, history, now)[0].expected_gain()

    def _with(self, arms: Sequence[Arm], history: History) -> "AdaptivePolicy":
        """Returns the policy with columns for `arms` and for what was tried, of which the network alone speaks."""
        known = self.table.columns()
        tried = [result.spec.arm for result in history]
        extra = {arm.key: arm for arm in (*arms, *tried) if arm.key not in known}
        return _widened(self, named_arms(tuple(extra.values()))) if extra else self

    def _cold(self, features: MetaFeatures) -> Sequence[Arm]:
        """Returns arms of allowed sources that no known target had, the same in every call."""
        cold = sorted(features.pairs.keys() - {arm.source for arm in self.table.arms})
        return _drawn(self, tuple(cold), COLD_ARMS * len(cold))

    def _new(self, features: MetaFeatures, history: History, *, count: int) -> Sequence[Arm]:
        """Returns arms of all allowed sources that were not tried, several for each of `count`."""
        tried = {result.spec.arm.key for result in history}
        wanted = max(LEAST_CHOICE, CHOICE * count)
        drawn = _drawn(self, tuple(sorted(features.pairs)), 2 ** math.ceil(math.log2(len(tried) + wanted)))
        return [arm for arm in drawn if arm.key not in tried][:wanted]

    def _known(
        self,
        features: MetaFeatures,
        history: History,
        now: Situation,
        *,
        count: int,
        first: Sequence[Suggestion] = (),
    ) -> tuple[Suggestion, ...]:
        """Returns up to `count` suggestions among the arms of the table, to be made after those of `first`."""
        if not now.is_available.any() or not self.table.targets:
            return ()
        session, is_allowed = self._told_session(features, history, now)
        places = self.table.columns()
        for suggestion in first:
            session.assume(Move(config=places[suggestion.arm.key], step=GRID))
        columns: list[int] = []
        while len(columns) < count and (move := session.next()) is not None:
            columns.append(move.config)
            session.assume(move)
        described = self._described(session, columns, features=features, now=now, is_allowed=is_allowed)
        return described if history else self._explained(described, features)

    def _told_session(self, features: MetaFeatures, history: History, now: Situation) -> tuple[AdaptiveSession, Flags]:
        """Returns a search that knows the history, and which arms it has, (A,)."""
        told = _told(self.table, history)
        is_allowed = now.is_available.copy()
        is_allowed[[column for column, _, _ in told]] = True
        session = self._session(features, is_allowed, paid=_paid(now))
        for _, done, utility in told:
            values = np.zeros(0) if utility is None else np.array([utility])
            session.tell(done, values, np.zeros(0), failed=utility is None)
        return session, is_allowed

    def _session(self, features: MetaFeatures, is_allowed: Flags, *, paid: Paid) -> AdaptiveSession:
        names = sorted({name for vector in features.pairs.values() for name in vector})
        present = Present(
            target=features.target_id,
            is_allowed=is_allowed,
            steps=np.where(is_allowed, GRID, 0),
            target_features=features.target,
            pair_features={
                name: np.array([features.pairs.get(arm.source, {}).get(name, np.nan) for arm in self.table.arms])
                for name in names
            },
            allowance=Allowance(cost_s=math.inf if self.is_thrifty else None),
        )
        return self.learned.start(present, seed=0, paid=paid, overhead_s=OVERHEAD_S, is_partial=False)

    def _described(
        self,
        session: AdaptiveSession,
        columns: Sequence[int],
        *,
        features: MetaFeatures,
        now: Situation,
        is_allowed: Flags,
    ) -> tuple[Suggestion, ...]:
        shares = self._shares(features, now, is_allowed)
        least, most = (0.0, 1.0) if are_shares(self.table) else (-math.inf, math.inf)
        suggestions = []
        for column in columns:
            forecast = session.predict(column)
            score, low, high = (min(max(value, least), most) for value in (forecast.value, forecast.low, forecast.high))
            suggestions.append(
                Suggestion(
                    arm=self.table.arms[column],
                    predicted_score=score,
                    low=low,
                    high=high,
                    predicted_cost_s=forecast.cost_s,
                    evidence=evidence_of(self.table, shares, column=column),
                )
            )
        return tuple(suggestions)

    def _explained(self, suggestions: Sequence[Suggestion], features: MetaFeatures) -> tuple[Suggestion, ...]:
        """Returns the suggestions with the features that mattered: before the first trial, when they are looked at."""
        encoder, ensemble = self.learned.encoder, self.learned.ensemble
        if encoder is None or ensemble is None:
            return tuple(suggestions)
        arms = [suggestion.arm for suggestion in suggestions]
        effects = feature_effects(features, arms, encoder=encoder, ensemble=ensemble)
        return tuple(
            dataclasses.replace(suggestion, features=found)
            for suggestion, found in zip(suggestions, effects, strict=True)
        )

    def _shares(self, features: MetaFeatures, now: Situation, is_allowed: Flags) -> Array:
        """Returns how much each known target resembles this one, (T,): by features, and by how it ranks the trials."""
        is_heard = self.learned.heard(np.flatnonzero(is_allowed))
        near = _closeness(self.table, named_features(features)) * is_heard
        observed = list(now.observed)
        regret = self.learned.whole[:, observed]
        shares = reweighted(near, misranking(regret, now.utility), beta=self.learned.knobs.beta)
        return shares / max(float(shares.sum()), 1e-12)


# A search asks for suggestions again and again: what does not change with its trials is made once.


@functools.lru_cache(maxsize=4)
def _widened(policy: AdaptivePolicy, extra: Named[Sequence[Arm]]) -> AdaptivePolicy:
    return dataclasses.replace(policy, learned=policy.learned.with_arms(extra.value))


@functools.lru_cache(maxsize=4)
def _drawn(policy: AdaptivePolicy, sources: tuple[str, ...], count: int) -> Sequence[Arm]:
    return policy.proposer.propose(sources=sources, count=count, seed=0) if count else ()


@functools.lru_cache(maxsize=4)
def _closeness(table: RegretTable, features: Named[MetaFeatures]) -> Array:
    return closeness(distances(table.targets, features.value), tau=NEARNESS)


def _paid(now: Situation) -> Paid:
    """Returns what full runs so far have cost."""
    columns = np.array(now.observed, dtype=np.int64)
    return Paid(columns=columns, cost_s=now.cost_s, shares=np.ones(len(columns)), noise=SHARED)


def _told(table: RegretTable, history: History) -> tuple[Told, ...]:
    """Returns what the history says of known arms, in its order."""
    columns = table.columns()
    told = []
    for result in history:
        column = columns.get(result.spec.arm.key)
        seen = None if column is None else _seen(result)
        if column is not None and seen is not None:
            step, utility = seen
            told.append((column, Move(config=column, step=step), utility))
    return tuple(told)


def _seen(result: TrialResult) -> tuple[int, float | None] | None:
    """Returns the step that a trial reached and its utility there, None for a failed one; None if it says nothing."""
    if result.status is TrialStatus.FAILED:
        return GRID, None
    if result.status is TrialStatus.COMPLETED and result.utility is not None:
        return GRID, result.utility if math.isfinite(result.utility) else None
    if result.status is TrialStatus.STOPPED and result.curve:
        last = result.curve[-1]
        utility = result.spec.target.metric.utility(last.value)
        return max(min(round(last.progress * GRID), GRID), FIRST_RUNG), utility if math.isfinite(utility) else None
    return None
