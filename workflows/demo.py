"""The main job, from nothing to advice on unseen targets: `python -m workflows.demo`, or `make demo`.

Every step resumes: run it again after an interruption and it goes on where it was.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from transmeta.config import load_config
from transmeta.core.experience import MetaFeatures
from transmeta.core.plan import OptimiserPlan
from transmeta.core.task import Task
from transmeta.core.trial import Arm, TrialResult
from transmeta.execution.ray.session import session
from transmeta.execution.ray.trainer import train_source
from transmeta.experiments.collect import collect
from transmeta.stores.sql import SqlExperienceStore
from transmeta.strategies.pool import arm_pool
from transmeta.tasks.catalogue import find_task
from transmeta.trials.source import SourceSpec
from transmeta.workspace import Compute, Workspace

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One source model."""

    name: str
    architecture: str
    tasks: tuple[str, ...]
    epochs: int
    learning_rate: float = 3e-3
    batch_size: int = 64

    def spec(self, *, seed: int) -> SourceSpec:
        """Returns what Ray Train is given."""
        return SourceSpec(
            name=self.name,
            architecture=self.architecture,
            tasks=tuple(find_task(name) for name in self.tasks),
            optimiser=OptimiserPlan(
                learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size, weight_decay=0.01
            ),
            seed=seed,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """The whole job; see demo.toml."""

    workers: int
    strategies: tuple[str, ...]
    samples: int
    rounds: int
    trials_per_round: int
    exploration: float
    seed: int
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    sources: tuple[SourceConfig, ...]
