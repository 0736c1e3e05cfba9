"""Opens units: the one place that knows how each tier is trained."""

from typing import final

from transmeta.core.trial import TrialId, TrialResult, TrialSpec
from transmeta.trials.environment import Environment
from transmeta.trials.run import TrialRun
from transmeta.trials.stacked import StackedUnit
from transmeta.trials.unit import MemberMeasurement, Tier, TrialUnit, UnitSpec, UnitStep


def open_unit(spec: UnitSpec, *, environment: Environment) -> TrialUnit:
    """Returns the unit, its members ready to run.

    Raises:
        InputError, UnsafeFileError: if a member cannot be run as it is specified.
    """
    if spec.tier is Tier.STACK:
        return StackedUnit(spec.members, environment=environment)
    return SingleUnit(spec.members[0], environment=environment)


@final
class SingleUnit:
    """A unit of one trial.

    Raises:
        InputError, UnsafeFileError: as `TrialRun`.
    """

    def __init__(self, spec: TrialSpec, *, environment: Environment) -> None:
        self._run = TrialRun(spec, environment=environment)
        self.is_done = False

    def advance(self) -> UnitStep:
        """Returns the trial's next measurement, or its result."""
        assert not self.is_done, "every member has ended"
        step = self._run.advance()
        if isinstance(step, TrialResult):
            self.is_done = True
            return UnitStep(results=(step,))
        return UnitStep(measurements=(MemberMeasurement(trial=self._run.spec.id, measurement=step),))

    def stop(self, trial: TrialId, *, reason: str) -> TrialResult:
        """Ends the trial early."""
        assert trial == self._run.spec.id
        assert not self.is_done
        self.is_done = True
        return self._run.stop(reason=reason)

    def parameter_count(self, trial: TrialId) -> int:
        """Returns the trainable weights."""
        return self._run.parameter_count
