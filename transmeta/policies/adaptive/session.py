"""One search on one target: choose, look at what came out, weigh the known targets anew, choose again."""

import dataclasses
from typing import Final, final

import numpy as np

from transmeta.policies.adaptive.choice import affordable, next_move, planned_move
from transmeta.policies.adaptive.costs import ALONE, ExpectedCost, Paid
from transmeta.policies.adaptive.posterior import Beliefs, Posterior
from transmeta.policies.adaptive.protocol import Forecast, Move
from transmeta.policies.adaptive.rows import Array, Flags, Indices, Rows
from transmeta.policies.forecast import NORMAL_90
from transmeta.policies.similarity import misranking, reweighted
from transmeta.policies.table import WORST

FAILED: Final = -1e30
"""The utility of a run that diverged: worse than any other."""


REFERENCE_AT: Final = 3
"""The start that is training from scratch at the latest, where nobody knows any source: transfer may do harm. It is run
to its end at once: what is known of curves says as little there."""
TIGHT: Final = (0.0, 0.5, 1.0)
FEW_RUNS: Final = 2.0
"""With a budget of so few full runs, gain per cost alone is no good rule: what is cheap can use up what a better move
needs. The exponents are then mixed (budgeted maximum coverage: Khuller, Moss and Naor, 1999). The first full run of
such a budget, and of any without posterior samples, is a tight budget in itself."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How rows are weighted and moves are valued.

    Attributes:
        blend: λ, the weight of the network's rows together; the known targets have 1 − λ.
        sampled: weight of samples of the Gaussian process over configurations; all other rows have the rest.
        beta: how fast rows that rank what was observed wrongly lose their weight.
        exponents: γ, how much the cost of a move counts; several are averaged.
        is_partial: whether runs may be left at a rung before their end.
    """

    blend: float = 0.0
    sampled: float = 0.0
    beta: float = 0.0
    exponents: tuple[float, ...] = (1.0,)
    is_partial: bool = False


DEFAULT: Final = Knobs(beta=1.0, exponents=(1.0,), is_partial=True)
"""Found on the domains of the meta-dataset, each left out."""
FEATURED: Final = dataclasses.replace(DEFAULT, blend=0.5, sampled=0.9)
"""The same where features tell targets and sources apart, so that there is a network."""
PORTFOLIO: Final = Knobs()
"""With these the choices are those of the greedy regret portfolio."""


@final
class Spending:
    """Paid and expected costs of one search. The unit is an evaluation, or the table's unit of cost.

    Args:
        cumulative: (C, K) expected cost of each rung from the start.
        budget: to spend in all.
        cost: expected of full runs, in the table's unit.
        parts: (C, K) the share of it that is paid at each rung.
        is_actual: whether what was really paid counts, rather than what was expected.
    """

    def __init__(self, *, cumulative: Array, budget: float, cost: ExpectedCost, parts: Array, is_actual: bool) -> None:
        self.cost = cost
        self.parts = parts
        self.cumulative = cumulative
        self.left = budget
        self.run = float(np.median(cumulative[:, -1]))
        self._spent = 0.0
        self._is_actual = is_actual

    def pay(self, expected: float, cost_s: Array) -> None:
        """Takes what a move has cost off the budget."""
        paid = float(cost_s.sum()) if self._is_actual else expected
        self.left -= paid
        self._spent += paid

    def left_of_first_run(self) -> float:
        """Returns what is left of the expected cost of one full run, the median one, and of the budget."""
        return min(self.run - self._spent, self.left)

    def remaining(self, paid: Indices) -> Array:
        """Returns the expected cost of getting to each rung from the one that was `paid` (C,) for, (C, K)."""
        reached = np.where(
            paid > 0, np.take_along_axis(self.cumulative, np.maximum(paid - 1, 0)[:, None], 1)[:, 0], 0.0
        )
        return self.cumulative - reached[:, None]


@final
class AdaptiveSession:
    """Chooses moves on one target. Its configurations are numbered as in `columns`.

    Args:
        rows: over the allowed configurations.
        columns: (C,) their numbers outside.
        steps: (C, K) the step of each rung.
        spending: costs, and the budget that is left.
        reference: (C,) configurations of which one is among the first starts.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        columns: Indices,
        steps: Indices,
        spending: Spending,
        knobs: Knobs,
        beliefs: Beliefs,
        reference: Flags,
    ) -> None:
        self._rows = rows
        self._beliefs = beliefs
        self._reference = reference
        self._paid_s = np.zeros(len(columns))
        self._columns = columns
        self._place = {int(column): place for place, column in enumerate(columns)}
        self._steps = steps
        self._spending = spending
        self._knobs = knobs
        self._paid = np.zeros(len(columns), dtype=np.int64)
        self._told = np.zeros(len(columns), dtype=np.int64)
        self._utility = np.full(len(columns), np.nan)
        self._is_ample = spending.left > FEW_RUNS * spending.run
        self._weights: Array | None = rows.weights
        self._believed: Posterior | None = None
        self._sampled: tuple[Array, Array] | None = None

    @property
    def weights(self) -> Array:
        """How much each row counts after what was observed, (R,)."""
        if self._weights is None:
            self._weights = self._posterior()
        return self._weights

    def next(self) -> Move | None:
        """Returns what to run next, and how far; None when nothing fits the budget."""
        remaining = self._spending.remaining(self._paid)
        if not self._knobs.is_partial:
            remaining[:, :-1] = 0.0
            remaining[self._paid > 0] = 0.0
        if (self._utility == FAILED).any():
            remaining[self._utility == FAILED] = 0.0
        if self._is_reference_due(remaining):
            remaining[~self._reference] = 0.0
            remaining[:, :-1] = 0.0
        move = self._best(remaining)
        if move is None:
            return None
        place, rung = move
        return Move(config=int(self._columns[place]), step=int(self._steps[place, rung]))

    def _best(self, remaining: Array) -> tuple[int, int] | None:
        """Returns configuration and rung to run next: in a tight first full run what ends within it, if any."""
        regret, weights = self._now()
        paid = np.where(self._utility == FAILED, 0, self._paid)  # what failed covers nothing
        is_tight_at_first = self._knobs.is_partial and not (self._is_ample and self._knobs.sampled > 0)
        if is_tight_at_first:
            left = self._spending.left_of_first_run()
            move = planned_move(regret, weights=weights, paid=paid, remaining=remaining, left=left, exponents=TIGHT)
            if move is not None:
                return move
        exponents = self._knobs.exponents if self._is_ample else TIGHT
        return next_move(
            regret, weights=weights, paid=paid, remaining=remaining, left=self._spending.left, exponents=exponents
        )

    def _is_reference_due(self, remaining: Array) -> bool:
        is_started = self._paid > 0
        can = affordable(remaining, left=self._spending.left)[:, -1]
        is_late = int(is_started.sum()) >= REFERENCE_AT - 1
        may_go_on = self._knobs.is_partial & (self._paid < remaining.shape[1]) & (self._utility != FAILED)
        is_told = is_started & ~may_go_on
        return bool(is_late and can[self._reference].any() and not is_told[self._reference].any())

    def _now(self) -> tuple[Array, Array]:
        """Returns the rows and their weights, with the samples of what is believed now."""
        share = self._knobs.sampled
        if share == 0:
            return self._rows.regret, self.weights
        if self._sampled is None:
            sampled = self.believed().samples(self._beliefs.normal)
            curves = np.clip(sampled[:, :, None] + self._beliefs.gaps, 0.0, WORST)
            weights = np.concatenate([(1 - share) * self.weights, np.full(len(curves), share / len(curves))])
            self._sampled = np.concatenate([self._rows.regret, curves]), weights
        return self._sampled

    def believed(self) -> Posterior:
        """Returns what is believed of the final values now."""
        if self._believed is None:
            observed = np.flatnonzero((self._told > 0) & (self._utility != FAILED))
            self._believed = self._beliefs.after(
                observed=observed, rungs=self._told[observed] - 1, utility=self._utility[observed]
            )
        return self._believed

    def expected_gain(self) -> float | None:
        """Returns by how much the best value so far is expected to rise by the best full run that was not started.

        None before anything was observed; 0 where nothing is left.
        """
        told = self._utility[(self._told > 0) & (self._utility != FAILED)]
        if not told.size:
            return None
        is_left = self._paid == 0
        return float(self.believed().expected_improvement(float(told.max()))[is_left].max(initial=0.0))

    def predict(self, config: int) -> Forecast:
        """Returns what a full run of the configuration would bring, as known now."""
        place = self._place[config]
        value = self.believed().value(place)
        width = NORMAL_90 * self._beliefs.width * value.deviation
        return Forecast(
            value=value.mean,
            low=value.mean - width,
            high=value.mean + width,
            cost_s=float(self._spending.cost.after(self._paid_so_far())[place]),
        )

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Takes the values of the new steps, −∞ where nothing was measured yet; the weights follow."""
        place = self._place[move.config]
        rung = int(np.searchsorted(self._steps[place], move.step, side="right"))
        before = self._spending.remaining(self._paid)[place, rung - 1]
        self._paid_s[place] += float(cost_s.sum())
        self._spending.pay(float(before), cost_s)
        self._paid[place] = rung
        if failed or (len(values) and np.isfinite(values[-1])):  # else nothing was measured yet
            self._told[place] = rung
            self._utility[place] = FAILED if failed else float(values[-1])
        self._believed = self._sampled = None  # computed when asked for: a history is told all at once
        if self._knobs.beta > 0:
            self._weights = None

    def _paid_so_far(self) -> Paid:
        run = np.flatnonzero(self._paid_s > 0)
        shares = self._spending.parts[run, self._paid[run] - 1]
        return Paid(columns=run, cost_s=self._paid_s[run], shares=shares, noise=ALONE)

    def assume(self, move: Move) -> None:
        """Takes a move as made whose values are not known yet: what it is expected to bring is not chosen again."""
        place = self._place[move.config]
        self._paid[place] = int(np.searchsorted(self._steps[place], move.step, side="right"))

    def reached(self, config: int) -> int:
        """Returns how many rungs of the configuration were paid for."""
        return int(self._paid[self._place[config]])

    def _posterior(self) -> Array:
        """Returns the weights after what was observed: pairs are compared at the rungs that were reached."""
        started = np.flatnonzero(self._told > 0)
        predicted = self._rows.regret[:, started, self._told[started] - 1]
        mistakes = misranking(predicted, self._utility[started])
        return reweighted(self._rows.weights, mistakes, beta=self._knobs.beta)
