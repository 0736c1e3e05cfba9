"""What a trial showed so far, what it cost, and the result that it makes, whichever way it is trained."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from torch import Tensor

from transmeta.core import codec
from transmeta.core.codec import Json
from transmeta.core.model import ModelCard
from transmeta.core.trial import Measurement, TrialResult, TrialSpec, TrialStatus
from transmeta.tasks.catalogue import task_encoder
from transmeta.training.checkpoint import write_checkpoint
from transmeta.training.data import TaskData
from transmeta.training.fit import FitReport


@final
class Clock:
    """Seconds that were spent in `running` blocks: CPU seconds of this process, and wall seconds."""

    def __init__(self) -> None:
        self.cost_s = self.wall_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Charges the block; what the process does between, such as other trials, is not charged."""
        wall_start, cost_start = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall_start
            self.cost_s += time.process_time() - cost_start

    def add(self, *, cost_s: float, wall_s: float) -> None:
        """Charges a share of what was spent for several trials together."""
        self.cost_s += cost_s
        self.wall_s += wall_s


@final
class TrialRecord:
    """The curve and the cost of one trial.

    Args:
        checkpoint_folder: where trained models are kept, one folder a trial id; None to keep none.
    """

    def __init__(self, spec: TrialSpec, *, checkpoint_folder: str | None) -> None:
        self.spec = spec
        self.clock = Clock()
        self.parameter_count = 0
        self._checkpoint_folder = checkpoint_folder
        self._curve: list[Measurement] = []

    @property
    def keeps_model(self) -> bool:
        """Whether the trained model will be asked for."""
        return self._checkpoint_folder is not None

    @property
    def curve(self) -> tuple[Measurement, ...]:
        """What it has shown."""
        return tuple(self._curve)

    def restore(self, curve: Sequence[Measurement], *, is_charged: bool) -> None:
        """Goes on after `curve`; what that had cost is charged to this process or to another of the same trial."""
        self._curve = [*curve]
        if curve and is_charged:
            self.clock.add(cost_s=curve[-1].cost_s, wall_s=curve[-1].wall_s)

    def measured(self, report: FitReport) -> Measurement:
        """Adds to the curve what some epochs showed, and returns it."""
        measurement = Measurement(
            epoch=report.epoch,
            progress=report.epoch / report.epochs,
            progress_before=report.epoch_before / report.epochs,
            value=report.value,
            train_loss=report.train_loss,
            cost_s=round(self.clock.cost_s, 6),
            wall_s=round(self.clock.wall_s, 6),
        )
        self._curve.append(measurement)
        return measurement

    def result(
        self,
        status: TrialStatus,
        *,
        test_score: float | None = None,
        reason: str = "",
        checkpoint: str | None = None,
    ) -> TrialResult:
        """Returns how the trial ended."""
        return TrialResult(
            spec=self.spec,
            status=status,
            curve=tuple(self._curve),
            score=self._curve[-1].value if self._curve and status is not TrialStatus.FAILED else None,
            test_score=test_score,
            cost_s=round(self.clock.cost_s, 6),
            wall_s=round(self.clock.wall_s, 6),
            parameter_count=self.parameter_count,
            reason=reason,
            checkpoint=checkpoint,
        )

    def keep(self, state: Mapping[str, Tensor], *, card: ModelCard, data: TaskData) -> str | None:
        """Writes the trained model where it is asked for, and returns its folder; None where it is not."""
        if self._checkpoint_folder is None or not self._curve:
            return None
        path = Path(self._checkpoint_folder) / self.spec.id
        encoder = task_encoder(self.spec.target)
        meta: dict[str, Json] = {
            "schema": 1,
            "spec": codec.to_json(self.spec),
            "card": codec.to_json(card),
            "classes": [*data.class_names],
            "encoder": None if encoder is None else codec.to_json(encoder),
        }
        write_checkpoint(path, tensors=state, meta=meta)
        return str(path)
