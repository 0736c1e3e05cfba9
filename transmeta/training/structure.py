"""Which plans can be trained as one stack: those whose steps are the same operations on tensors of the same shapes."""

import dataclasses

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.core.plan import Addition, Initialisation, Scope, SideNetwork, TransferPlan


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What members of a stack have in common; everything else may differ.

    Attributes:
        source: id of the card; "" where members of several sources can be stacked.
        target: id of the task; "" where members of several targets can be stacked.
        model: architecture and input shape.
    """

    model: str
    source: str
    target: str
    trainable: tuple[int, ...]
    scope: Scope
    initialisation: Initialisation
    additions: tuple[Addition, ...]
    has_penalty: bool
    probe_epochs: int
    augment_shift: int
    batch_size: int

    @property
    def is_head_only(self) -> bool:
        """Whether nothing but a head is trained."""
        return not self.trainable and not self.additions

    @property
    def key(self) -> str:
        """Short text that is equal for equal structures."""
        return codec.digest(self)


def structure(plan: TransferPlan, *, card: ModelCard, target_id: str) -> Structure:
    """Returns the structure of a plan on a model and a target.

    Sources can differ where no frozen stage stands behind the cut, for the members then share no weights. Targets can
    differ too, but where the members' epochs have to keep step: while probing, and where images are shifted.
    """
    trainable = tuple(sorted(set(plan.trainable)))
    is_whole = plan.scope is Scope.ALL and trainable == tuple(range(plan.cut or 0, card.stage_count))
    has_side = any(isinstance(addition, SideNetwork) for addition in plan.additions)
    is_free = (not trainable or is_whole) and not plan.additions and not plan.augment_shift
    return Structure(
        model=f"{card.architecture}{card.input_shape}",
        source="" if is_free else card.id,
        target="" if not (plan.probe_epochs or plan.augment_shift or has_side) else target_id,
        trainable=trainable,
        scope=plan.scope,
        initialisation=plan.initialisation,
        additions=plan.additions,
        has_penalty=plan.penalty is not None,
        probe_epochs=plan.probe_epochs,
        augment_shift=plan.augment_shift,
        batch_size=plan.optimiser.batch_size,
    )
