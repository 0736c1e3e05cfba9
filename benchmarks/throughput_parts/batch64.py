"""Full fine-tuning with batches of 64, as a plug-in: the fixed workloads ask for them, and no strategy offers them."""

import dataclasses
from pathlib import Path
from typing import Final, final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.full_finetune import FullFinetune

NAME: Final = "full_finetune_64"
BATCH: Final = 64


@final
class FullFinetune64:
    name = NAME
    summary = "Full fine-tuning with batches of 64 examples."

    def applies_to(self, model: ModelCard) -> bool:
        return FullFinetune().applies_to(model)

    def space(self, model: ModelCard) -> ConfigurationSpace:
        return FullFinetune().space(model)

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        plan = FullFinetune().plan(params, model)
        return dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, batch_size=BATCH))


def install(folder: Path) -> None:
    """Makes the plug-in known to every process that has `folder` and this package's folder on its path."""
    info = folder / "transmeta_throughput-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: transmeta-throughput\nVersion: 0\n")
    lines = f"[transmeta.strategies]\n{NAME} = {__name__}:{FullFinetune64.__name__}\n"
    (info / "entry_points.txt").write_text(lines)
