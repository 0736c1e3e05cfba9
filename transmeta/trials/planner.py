"""Groups trials into units: stacks where that was measured to be faster and to give the same numbers."""

import dataclasses
import itertools
import logging
import math
from collections.abc import Sequence
from typing import Final, final

import torch

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.core.plan import Precision, TransferPlan
from transmeta.core.trial import TrialResult, TrialSpec
from transmeta.errors import InputError, TrialFailure, UnsafeFileError
from transmeta.strategies.catalogue import find_strategy
from transmeta.training.fit import is_divisible
from transmeta.training.structure import Structure, structure
from transmeta.trials.costs import CostBook, TierCosts, kind_of
from transmeta.trials.environment import Environment
from transmeta.trials.opening import open_unit
from transmeta.trials.planning import running_mean
from transmeta.trials.run import THREADS
from transmeta.trials.unit import Tier, TrialUnit, UnitSpec, unit_of

PROBE_S: Final = 0.3
"""About what a measured stack may take: so many members as would take this one by one, but two at least."""
PROBE_MEMBERS: Final = 16
"""Most members of the stack that is measured; the gain only grows with more of them."""
STACK_BYTES: Final = 3 * 2**19
"""Weights, gradients and moments of a stack that stay in a processor's cache beside what passes through it."""
HEADS_BYTES: Final = 12 * 2**20
"""The same for heads alone, whose step passes each weight once: one product for all who read the same examples gains
more than a cache (1280 features, CPU ms of a trial: 5.0 with 16 members, 4.5 with 32, 4.0 with 64, 4.1 with 128)."""
STATE_BYTES: Final = 16
"""Bytes of these for one trained weight, in float32."""
LONG_S: Final = 0.15
"""Longer ones are measured once: what is done once in a process plays little part in them."""
SMALLEST: Final = 16
"""Members of a full stack, however large: with fewer, its steps are short beside what each takes to start."""
LARGEST: Final = 128
DIVIDED_START_S: Final = 15.0
"""Before its first step, workers that share a trial are placed, import torch and find each other."""
DIVIDED_SHARE: Final = 0.8
"""Of the pace of as many single trials, until it was measured: two gloo workers reach 1.6 to 1.8 times that of one."""
MOVED_SHARE: Final = 5
"""The end of a stack moves by this share of a stack at most, one in so many, to where another seed begins."""
TOLERANCE: Final = 1e-3
"""Relative difference of the mean training loss after the first epochs at which a tier is turned off."""

logger = logging.getLogger(__name__)


@final
class UnitPlanner:
    """Decides what is trained together; never changes what is trained.

    A kind of trial (architecture, what is trained, how) is measured when it is met for the first time on a machine:
    the first epochs of one trial by itself, and of a stack with the same trial in it. The stack is used for that kind
    if it took less time for each member and showed the same numbers.

    Args:
        environment: where models are found; what was measured is kept in its cache folder.
    """

    def __init__(self, *, environment: Environment) -> None:
        self._environment = environment
        self._library = environment.library()
        self._book = CostBook(environment.cache_folder)
        self._cards: dict[tuple[str, str], ModelCard | None] = {}
        self._member_s: dict[tuple[Structure | None, Tier], float] = {}
        self._epoch_s: dict[tuple[str, Tier], float] = {}

    def units(self, specs: Sequence[TrialSpec], *, workers: int) -> Sequence[UnitSpec]:
        """Returns each of `specs` in one unit, those of the largest groups first, for `workers` that share them."""
        groups: dict[Structure | str, list[TrialSpec]] = {}
        for index, spec in enumerate(specs):
            groups.setdefault(self._structure(spec) or f"alone {index}", []).append(spec)
        units: list[UnitSpec] = []
        for shape, members in groups.items():
            if isinstance(shape, str) or len(members) < 2 or not (costs := self._costs(shape, members[0])).is_stacked:
                units += [UnitSpec(members=(spec,)) for spec in members]
                continue
            units += _stacks(members, most=_most_members(shape, costs.parameter_count), workers=workers)
        return units

    def divided(self, units: Sequence[UnitSpec], *, workers: int) -> Sequence[UnitSpec]:
        """Returns `units`, DIVIDED if by what their kinds took so far they then end sooner than side by side.

        So few that workers would stay idle, and so long that it pays for starting Ray Train for each.
        """
        if not 0 < len(units) < workers:
            return units
        apart_s, together_s = 0.0, 0.0
        for unit in units:
            alone_s = self._trial_s(unit, Tier.SINGLE)
            if unit.tier is not Tier.SINGLE or alone_s is None:
                return units
            known_s = self._trial_s(unit, Tier.DIVIDED)
            apart_s = max(apart_s, alone_s)
            together_s += DIVIDED_START_S + alone_s / (DIVIDED_SHARE * workers) if known_s is None else known_s
        if together_s >= apart_s:
            return units
        logger.info("%d trial(s) on %d workers each: %.0f s, not %.0f s", len(units), workers, together_s, apart_s)
        return [dataclasses.replace(unit, tier=Tier.DIVIDED) for unit in units]

    def observe(self, unit: UnitSpec, *, results: Sequence[TrialResult], busy_s: float) -> None:
        """Logs what a unit took beside what earlier ones of its kind let expect, and learns from it."""
        if unit.tier is not Tier.STACK and results and results[0].curve:
            self._epoch_s[self._pace_key(unit.members[0]), unit.tier] = busy_s / results[0].curve[-1].epoch
        kind, count = self._structure(unit.members[0]), len(unit.members)
        expected_s = self._member_s.get((kind, unit.tier))
        logger.info(
            "%s unit of %d: %.3f s, expected %s",
            unit.tier,
            count,
            busy_s,
            "nothing yet" if expected_s is None else f"{expected_s * count:.3f} s",
        )
        self._member_s[kind, unit.tier] = running_mean(expected_s, busy_s / count)

    def _structure(self, spec: TrialSpec) -> Structure | None:
        """Returns what the trial has to share with the others of a stack; None where it cannot be in one."""
        if spec.precision is not Precision.FLOAT32:
            return None  # a stack's step is written out in products of float32
        planned = self._plan(spec)
        if planned is None or planned[0].ridge is not None:
            return None
        plan, card = planned
        return structure(plan, card=card, target_id=spec.target.id)

    def _plan(self, spec: TrialSpec) -> tuple[TransferPlan, ModelCard] | None:
        """Returns the plan of the trial and the card of its source; None where it cannot be run."""
        try:
            card = self._card(spec)
            return None if card is None else (find_strategy(spec.strategy.name).plan(spec.strategy.params, card), card)
        except (InputError, UnsafeFileError, TrialFailure):
            return None  # the trial itself will say so, to whoever asked for it

    def _trial_s(self, unit: UnitSpec, tier: Tier) -> float | None:
        """Returns what a trial takes by what the last of its kind took for an epoch; None if nobody knows, or if it
        cannot be divided.
        """
        spec = unit.members[0]
        planned = self._plan(spec)
        if planned is None or not is_divisible(planned[0]):
            return None
        epoch_s = self._epoch_s.get((self._pace_key(spec), tier))
        return None if epoch_s is None else epoch_s * planned[0].optimiser.epochs

    def _pace_key(self, spec: TrialSpec) -> str:
        """Returns text that is equal for trials whose epochs take about as long."""
        planned = self._plan(spec)
        shape = None if planned is None else structure(planned[0], card=planned[1], target_id=spec.target.id)
        return f"{codec.dumps(shape)} {spec.pair.source} {spec.target.id} {spec.precision}"

    def _card(self, spec: TrialSpec) -> ModelCard | None:
        key = (spec.pair.source, spec.target.id)
        if key not in self._cards:
            card = self._library.card(spec.pair.source, target=spec.target)
            self._cards[key] = card if card.is_allowed_for(spec.target) else None
        return self._cards[key]

    def _costs(self, shape: Structure, spec: TrialSpec) -> TierCosts:
        kind = kind_of(shape)
        known = self._book.read(kind)
        if known is None:
            known = measure(spec, environment=self._environment)
            self._book.write(kind, known)
            logger.info("%s: %s", kind, known)
            if not known.agrees:
                logger.warning(
                    "%s: stacked training does not give the numbers of single trials; these trials will run one by one",
                    kind,
                )
        return known


def measure(spec: TrialSpec, *, environment: Environment) -> TierCosts:
    """Returns what the first epochs of a trial cost by itself, and in a stack with others of other seeds."""
    quiet = dataclasses.replace(environment, checkpoint_folder=None)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        # The first run loads the data, fills the caches and imports what a step needs: that is not what a trial costs.
        alone = UnitSpec(members=(spec,))
        _first(open_unit(alone, environment=quiet), spec)
        loss, single_s = _first(open_unit(alone, environment=quiet), spec)
        count = max(2, min(PROBE_MEMBERS, int(PROBE_S / max(single_s, 1e-6))))
        others = tuple(dataclasses.replace(spec, seed=spec.seed + k) for k in range(1, count))
        stacked = UnitSpec(members=(spec, *others), tier=Tier.STACK)
        for _ in range(1 if single_s > LONG_S else 2):
            stack = open_unit(stacked, environment=quiet)
            stacked_loss, stack_s = _first(stack, spec)
    finally:
        torch.set_num_threads(threads)
    agrees = (loss is None and stacked_loss is None) or (
        loss is not None and stacked_loss is not None and math.isclose(loss, stacked_loss, rel_tol=TOLERANCE)
    )
    weights = stack.parameter_count(spec.id)
    return TierCosts(single_s=single_s, stack_s=stack_s, agrees=agrees, parameter_count=weights)


def _first(unit: TrialUnit, spec: TrialSpec) -> tuple[float | None, float]:
    """Returns the first training loss of a trial in a fresh unit, None if it failed, and the seconds that it took."""
    while not unit.is_done:
        step = unit.advance()
        for member in step.measurements:
            if member.trial == spec.id:
                return member.measurement.train_loss, member.measurement.wall_s
        for result in step.results:
            if result.spec.id == spec.id:
                return None, result.wall_s
    raise AssertionError("a unit ended without a word of one of its members")


def _most_members(shape: Structure, parameter_count: int) -> int:
    fitting = (HEADS_BYTES if shape.is_head_only else STACK_BYTES) // (STATE_BYTES * max(1, parameter_count))
    return max(SMALLEST, min(LARGEST, fitting))


def _stacks(members: Sequence[TrialSpec], *, most: int, workers: int) -> Sequence[UnitSpec]:
    """Returns stacks of about equal size, with all workers busy to the end.

    Trials of one seed see the same examples in each step, which a stack then reads once: so these come together, and
    a stack ends where a seed does if that is near.
    """
    ordered = sorted(members, key=_examples)
    least = math.ceil(len(ordered) / most)
    count = min(len(ordered), math.ceil(least / workers) * workers)
    changes = [index for index in range(1, len(ordered)) if _examples(ordered[index - 1]) != _examples(ordered[index])]
    most_moved = len(ordered) // (MOVED_SHARE * count)
    ends = {0, len(ordered)}
    for index in range(1, count):
        even = round(len(ordered) * index / count)
        nearest = min(changes, key=lambda change: abs(change - even), default=even)
        ends.add(nearest if abs(nearest - even) <= most_moved else even)
    return [unit_of(ordered[begin:end]) for begin, end in itertools.pairwise(sorted(ends))]


def _examples(spec: TrialSpec) -> tuple[str, str, int]:
    """Returns what is equal for trials that read the same examples in each step."""
    return spec.target.id, spec.pair.source, spec.seed
