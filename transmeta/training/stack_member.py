"""The members of a stack, and what is made of all of them together; K members."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from transmeta.core.task import Metric
from transmeta.training.data import TaskData
from transmeta.training.fit import rates_of
from transmeta.training.inputs import OpenInputs
from transmeta.training.planned import PlannedModel
from transmeta.training.stacked_adamw import StackedGroup


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StackMember:
    """One of the fits of a stack.

    Attributes:
        planned: ready to be fitted; members may share the modules that they do not train.
        values: name → initial weights of what is trained.
        reader: equal for members that read the same data through the same frozen stages.
        open_inputs: opens what the member reads.
    """

    planned: PlannedModel
    data: TaskData
    metric: Metric
    seed: int
    values: Mapping[str, Tensor]
    reader: str
    open_inputs: OpenInputs


def initial_values(members: Sequence[StackMember], *, device: torch.device) -> Mapping[str, Tensor]:
    """Returns name → (K, ...), heads padded with zeros to the largest number of classes."""
    most = max(member.planned.class_count for member in members)
    stacked: dict[str, Tensor] = {}
    for name in members[0].values:
        parts = [member.values[name].detach() for member in members]
        if name.startswith("head."):
            parts = [functional.pad(part, (0, 0) * (part.ndim - 1) + (0, most - len(part))) for part in parts]
        stacked[name] = torch.stack(parts).to(device)
    return stacked


def parameter_groups(members: Sequence[StackMember]) -> Sequence[StackedGroup]:
    """Returns the groups of all members together; those of equal numbers are one, so that a step is few operations."""
    own_rates = [member.planned.plan.optimiser.learning_rate for member in members]
    names: dict[tuple[bool, tuple[float, ...], tuple[float, ...]], tuple[str, ...]] = {}
    for own in zip(*(member.planned.groups for member in members), strict=True):
        rates = tuple(group.rate * rate for group, rate in zip(own, own_rates, strict=True))
        key = (own[0].is_head, rates, tuple(group.weight_decay for group in own))
        names[key] = names.get(key, ()) + own[0].names
    return [
        StackedGroup(
            names=own_names,
            rates=torch.tensor(rates, dtype=torch.float64),
            decays=torch.tensor(decays, dtype=torch.float64),
            is_head=is_head,
        )
        for (is_head, rates, decays), own_names in names.items()
    ]


def rate_table(members: Sequence[StackMember], *, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns (K, steps) multiples of each member's learning rate, 0 after its end."""
    rates = [rates_of(m.planned.plan.optimiser, steps=int(count)) for m, count in zip(members, steps, strict=True)]
    table = np.zeros((len(rates), max(len(row) for row in rates)))
    for row, values in zip(table, rates, strict=True):
        row[: len(values)] = values
    return table


def runs_of(members: Sequence[StackMember]) -> Sequence[slice]:
    """Returns runs of neighbours that read the same examples in each step, all members in order."""
    read = [(member.seed, member.reader) for member in members]
    ends = [end for end, (before, after) in enumerate(itertools.pairwise(read), 1) if before != after]
    return [slice(begin, end) for begin, end in itertools.pairwise([0, *ends, len(read)])]
