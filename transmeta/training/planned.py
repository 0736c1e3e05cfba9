"""A staged model under a transfer plan: what is trainable, in which parameter groups, and the proof of both."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from transmeta.core.model import ModelCard
from transmeta.core.plan import Initialisation, Scope, SideNetwork, TransferPlan
from transmeta.errors import TrialFailure
from transmeta.training import additions
from transmeta.training.seeding import derive_seed
from transmeta.training.staged import StagedModel

NO_GRADIENT = "the additions of the plan receive no gradient; the source's features are all zero here"
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterGroup:
    """Parameters that share their optimiser numbers.

    Attributes:
        names: of the parameters, as in the model.
        rate: multiple of the plan's learning rate.
        is_head: whether these are the head's, which alone are trained while probing.
    """

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    rate: float
    weight_decay: float
    is_head: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedModel:
    """A model that is ready to be fitted.

    Attributes:
        added: parameters of LoRA, adapters or the side network.
        anchors: (parameter, its source weights) for the L2-SP penalty.
        frozen: name → parameter with its version counter when the plan was applied.
    """

    model: StagedModel
    plan: TransferPlan
    card: ModelCard
    groups: tuple[ParameterGroup, ...]
    added: tuple[nn.Parameter, ...]
    anchors: tuple[tuple[nn.Parameter, Tensor], ...]
    frozen: Mapping[str, tuple[nn.Parameter, int]]

    @property
    def parameter_count(self) -> int:
        """Number of trainable weights."""
        return sum(p.numel() for group in self.groups for p in group.parameters)

    @property
    def class_count(self) -> int:
        """Outputs of the head."""
        return self.model.head.out_features

    @property
    def epochs(self) -> int:
        """Epochs in all, probing included."""
        return self.plan.optimiser.epochs + self.plan.probe_epochs

    @property
    def added_names(self) -> tuple[str, ...]:
        """The names of the added parameters."""
        added = {id(parameter) for parameter in self.added}
        return tuple(name for name, parameter in self._trained() if id(parameter) in added)

    def trained_values(self) -> Mapping[str, Tensor]:
        """Returns name → present weights of all that is trained; not copies."""
        return {name: parameter.detach() for name, parameter in self._trained()}

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        for group in self.groups:
            yield from zip(group.names, group.parameters, strict=True)

    def check_frozen(self) -> None:
        """Asserts that no frozen parameter was written to since the plan was applied."""
        changed = [name for name, (p, version) in self.frozen.items() if p._version != version]
        assert not changed, f"frozen parameters changed: {changed[:10]}"

    def check_added(self) -> None:
        """Checks, with the gradients of a step at hand, that the additions take part.

        Raises:
            TrialFailure: if no added parameter received a gradient other than zero.
        """
        if self.added and not any(p.grad is not None and bool(p.grad.any()) for p in self.added):
            raise TrialFailure(NO_GRADIENT)


def apply(plan: TransferPlan, *, model: StagedModel, card: ModelCard, class_count: int, seed: int) -> PlannedModel:
    """Returns `model`, changed in place into what `plan` says, with a new head for `class_count` classes.

    Deterministic by `seed`: new weights never depend on the global generator.

    Raises:
        TrialFailure: if the plan does not fit the model or leaves nothing to train.
    """
    stage_count = len(model.stages)
    cuts = [addition.cut for addition in plan.additions if not isinstance(addition, SideNetwork)]
    outside = [index for index in (*plan.trainable, *cuts) if not 0 <= index < stage_count]
    if outside:
        raise TrialFailure(f"the plan changes stage {outside[0]}, but {card.id} has stages 0 to {stage_count - 1}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "initialise"))
        if plan.initialisation is Initialisation.RANDOM:
            generator = torch.Generator().manual_seed(derive_seed(seed, "stages"))
            additions.initialise(model.stages, generator=generator)
        model.head = nn.Linear(model.feature_count, class_count)
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        stages = list(model.stages)
        trained = {index: _unfreeze(stages[index], plan.scope) for index in sorted(set(plan.trainable))}
        anchors = _anchors(trained, plan)
        added: list[nn.Parameter] = []
        for addition in plan.additions:
            added += additions.add(model, addition, card=card)
    for parameter in added:
        parameter.requires_grad_(True)
    planned = PlannedModel(
        model=model,
        plan=plan,
        card=card,
        groups=_groups(model, plan, trained=trained, added=added),
        added=tuple(added),
        anchors=anchors,
        frozen={name: (p, p._version) for name, p in model.named_parameters() if not p.requires_grad},
    )
    empty = [index for index, parameters in trained.items() if not parameters]
    if planned.parameter_count == 0 or empty:
        raise TrialFailure(f"the plan leaves nothing to train in stage {empty[0]} of {card.id}; choose another stage")
    return planned


def sibling(planned: PlannedModel, plan: TransferPlan, *, seed: int) -> tuple[PlannedModel, Mapping[str, Tensor]]:
    """Returns what `apply` would make of a plan that differs from `planned`'s in numbers only, and its initial weights.

    The modules are shared with `planned`, which must not have been trained and neither adds nor draws weights beside
    the head: so this costs a head, not a model.
    """
    assert not planned.added
    assert plan.initialisation is Initialisation.SOURCE
    head = _drawn_head(planned.model.feature_count, planned.class_count, seed)
    stages = list(planned.model.stages)
    trained = {index: _unfreeze(stages[index], plan.scope) for index in sorted(set(plan.trainable))}
    groups = _groups(planned.model, plan, trained=trained, added=[])
    return dataclasses.replace(planned, plan=plan, groups=groups), {**planned.trained_values(), **head}


@functools.lru_cache(maxsize=64)
def _drawn_head(feature_count: int, class_count: int, seed: int) -> Mapping[str, Tensor]:
    """Returns the head that `apply` draws with `seed`, by the names that its weights have in the model."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "initialise"))
        head = nn.Linear(feature_count, class_count)
    return {f"head.{name}": parameter.detach() for name, parameter in head.named_parameters()}


def _unfreeze(stage: nn.Module, scope: Scope) -> list[nn.Parameter]:
    if scope is Scope.ALL:
        chosen = list(stage.parameters())
    else:
        chosen = [
            parameter
            for module in stage.modules()
            for name, parameter in module.named_parameters(recurse=False)
            if name == "bias" or isinstance(module, NORMS)
        ]
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def _anchors(
    trained: Mapping[int, Sequence[nn.Parameter]], plan: TransferPlan
) -> tuple[tuple[nn.Parameter, Tensor], ...]:
    if plan.penalty is None:
        return ()
    return tuple((p, p.detach().clone()) for parameters in trained.values() for p in parameters)


def _groups(
    model: StagedModel,
    plan: TransferPlan,
    *,
    trained: Mapping[int, Sequence[nn.Parameter]],
    added: Sequence[nn.Parameter],
) -> tuple[ParameterGroup, ...]:
    numbers = plan.optimiser
    last = len(model.stages) - 1
    rates = [(tuple(model.head.parameters()), numbers.head_multiplier, True)]
    rates += [(tuple(p), numbers.layer_decay ** (last - index), False) for index, p in trained.items()]
    rates += [(tuple(added), 1.0, False)] if added else []
    names = _names(model, [parameter for parameters, _, _ in rates for parameter in parameters])
    groups: list[ParameterGroup] = []
    for parameters, rate, is_head in rates:
        matrices = tuple(p for p in parameters if p.ndim > 1)
        vectors = tuple(p for p in parameters if p.ndim <= 1)
        for chosen, decay in ((matrices, numbers.weight_decay), (vectors, 0.0)):
            if chosen:
                own = tuple(names[id(parameter)] for parameter in chosen)
                groups.append(
                    ParameterGroup(names=own, parameters=chosen, rate=rate, weight_decay=decay, is_head=is_head)
                )
    return tuple(groups)


def _names(model: StagedModel, parameters: Sequence[nn.Parameter]) -> Mapping[int, str]:
    """Returns the name of each parameter in the model, by its `id`; looks no further than it has to."""
    names = {id(parameter): f"head.{name}" for name, parameter in model.head.named_parameters()}
    if any(id(parameter) not in names for parameter in parameters):
        names |= {id(parameter): name for name, parameter in model.named_parameters()}
    return names
