"""Several trials under way as one stack."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import final

import torch

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.core.plan import Initialisation, OptimiserPlan, TransferPlan
from transmeta.core.task import Task
from transmeta.core.trial import TrialId, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import TrialFailure
from transmeta.strategies.catalogue import find_strategy
from transmeta.training.data import TaskData
from transmeta.training.inputs import Inputs
from transmeta.training.planned import PlannedModel, apply, sibling
from transmeta.training.prefix import SplitPrefix
from transmeta.training.seeding import derive_seed
from transmeta.training.stack import Stack
from transmeta.training.stack_member import StackMember
from transmeta.trials.environment import Environment
from transmeta.trials.record import Clock, TrialRecord
from transmeta.trials.run import FAILURES, allowed_card, cached_data, shared_prefix, trial_device
from transmeta.trials.unit import MemberMeasurement, UnitStep


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Opened:
    """A member that is in the stack."""

    record: TrialRecord
    card: ModelCard
    data: TaskData


@final
class StackedUnit:
    """A unit whose members are trained as one stack; what it does together is charged to them in equal shares.

    Raises:
        InputError, UnsafeFileError: as `TrialRun`, if any member cannot be run as it is specified.
    """

    def __init__(self, specs: Sequence[TrialSpec], *, environment: Environment) -> None:
        self._records = {spec.id: TrialRecord(spec, checkpoint_folder=environment.checkpoint_folder) for spec in specs}
        self._failed: list[TrialResult] = []
        self._opened: list[_Opened] = []
        self._stack: Stack | None = None
        builder = _Builder(environment, targets=[spec.target for spec in specs])
        clock = Clock()
        with clock.running():
            members = []
            for record in self._records.values():
                try:
                    member, card = builder.member(record.spec)
                except FAILURES as failure:
                    self._failed.append(record.result(TrialStatus.FAILED, reason=str(failure)))
                    continue
                record.parameter_count = member.planned.parameter_count
                self._opened.append(_Opened(record=record, card=card, data=member.data))
                members.append(member)
            if members:
                self._stack = Stack(members, device=trial_device())
        self._charge(clock, range(len(self._opened)))

    @property
    def is_done(self) -> bool:
        """Whether every member has ended."""
        return not self._failed and (self._stack is None or not self._stack.live)

    def advance(self) -> UnitStep:
        """Runs up to the next measurements, or ends the members that have run all their epochs."""
        assert not self.is_done, "every member has ended"
        if self._failed:
            failed, self._failed = self._failed, []
            return UnitStep(results=tuple(failed))
        assert self._stack is not None
        complete = [index for index in self._stack.live if self._stack.is_complete(index)]
        return self._complete(self._stack, complete) if complete else self._train(self._stack)

    def stop(self, trial: TrialId, *, reason: str) -> TrialResult:
        """Ends a member early; the others go on."""
        assert self._stack is not None
        index = next(index for index in self._stack.live if self._opened[index].record.spec.id == trial)
        result = self._opened[index].record.result(
            TrialStatus.STOPPED, reason=reason, checkpoint=self._keep(self._stack, index)
        )
        self._stack.drop([index])
        return result

    def parameter_count(self, trial: TrialId) -> int:
        """Returns the trainable weights of a member."""
        return self._records[trial].parameter_count

    def _train(self, stack: Stack) -> UnitStep:
        clock, live = Clock(), stack.live
        with clock.running():
            shown = stack.advance()
        self._charge(clock, live)
        measurements: list[MemberMeasurement] = []
        results: list[TrialResult] = []
        for index, event in shown.items():
            record = self._opened[index].record
            if isinstance(event, TrialFailure):
                results.append(record.result(TrialStatus.FAILED, reason=str(event)))
            else:
                measurements.append(MemberMeasurement(trial=record.spec.id, measurement=record.measured(event)))
        return UnitStep(measurements=tuple(measurements), results=tuple(results))

    def _complete(self, stack: Stack, complete: Sequence[int]) -> UnitStep:
        clock = Clock()
        with clock.running():
            scores = stack.score(complete, name="test")
        self._charge(clock, complete)
        results: list[TrialResult] = []
        for index, score in scores.items():
            record = self._opened[index].record
            if isinstance(score, TrialFailure):
                results.append(record.result(TrialStatus.FAILED, reason=str(score)))
            else:
                checkpoint = self._keep(stack, index)
                results.append(record.result(TrialStatus.COMPLETED, test_score=score, checkpoint=checkpoint))
        stack.drop(complete)
        return UnitStep(results=tuple(results))

    def _keep(self, stack: Stack, index: int) -> str | None:
        member = self._opened[index]
        if not member.record.keeps_model:
            return None
        return member.record.keep(stack.state(index), card=member.card, data=member.data)

    def _charge(self, clock: Clock, members: Sequence[int]) -> None:
        for index in members:
            shares = len(members)
            self._opened[index].record.clock.add(cost_s=clock.cost_s / shares, wall_s=clock.wall_s / shares)


@final
class _Builder:
    """Makes the members of a stack; those that only differ in numbers share the modules of the first of them.

    Args:
        targets: of the members.
    """

    def __init__(self, environment: Environment, *, targets: Sequence[Task]) -> None:
        self._environment = environment
        self._library = environment.library()
        self._templates: dict[tuple[str, int], PlannedModel] = {}
        self._cards: dict[tuple[str, str], ModelCard] = {}
        self._data = {target.id: cached_data(codec.dumps(target)) for target in targets}
        self._prefixes: dict[tuple[str, str], SplitPrefix | None] = {}

    def member(self, spec: TrialSpec) -> tuple[StackMember, ModelCard]:
        target_id = spec.target.id
        data = self._data[target_id]
        where = (spec.pair.source, target_id)
        if where not in self._cards:
            self._cards[where] = allowed_card(spec, environment=self._environment)
        card = self._cards[where]
        plan = find_strategy(spec.strategy.name).plan(spec.strategy.params, card)
        planned, values = self._planned(plan, card=card, data=data, seed=derive_seed(spec.seed, "plan"))

        if where not in self._prefixes:
            self._prefixes[where] = shared_prefix(plan, card=card, target=spec.target, environment=self._environment)
        prefix = self._prefixes[where]

        def open_inputs(name: str, start: int, waits: bool) -> Inputs:
            return Inputs(
                {"train": data.train, "validation": data.validation, "test": data.test}[name],
                model=planned.model,
                card=card,
                start=start,
                keep_prepared=planned.model.side is not None,
                shift=plan.augment_shift if name == "train" else 0,
                device=trial_device(),
                name=name,
                prefix=prefix,
                waits=waits,
            )

        member = StackMember(
            planned=planned,
            data=data,
            metric=spec.target.metric,
            seed=derive_seed(spec.seed, "fit"),
            values=values,
            reader=f"{card.id} {target_id}",
            open_inputs=open_inputs,
        )
        return member, card

    def _planned(
        self, plan: TransferPlan, *, card: ModelCard, data: TaskData, seed: int
    ) -> tuple[PlannedModel, dict[str, torch.Tensor]]:
        classes = len(data.class_names)
        is_shared = plan.initialisation is Initialisation.SOURCE and not plan.additions
        key = (card.id, classes)
        if is_shared and plan.cut is None:
            self._templates.setdefault(key, _frozen_model(self._environment, card, classes))
        if is_shared and key in self._templates:
            planned, values = sibling(self._templates[key], plan, seed=seed)
            return planned, dict(values)
        planned = apply(plan, model=self._library.load(card), card=card, class_count=classes, seed=seed)
        planned.model.to(trial_device())
        if is_shared:
            self._templates[key] = planned
        return planned, dict(planned.trained_values())


@functools.lru_cache(maxsize=4)
def _frozen_model(environment: Environment, card: ModelCard, class_count: int) -> PlannedModel:
    """Returns a source with nothing but a head to train; units share it, since they change none of it."""
    plan = TransferPlan(trainable=(), optimiser=OptimiserPlan(learning_rate=1e-3, epochs=1))
    planned = apply(plan, model=environment.library().load(card), card=card, class_count=class_count, seed=0)
    planned.model.to(trial_device())
    return planned
