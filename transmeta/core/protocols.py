"""The seams: who decides, who runs, who remembers, who learns."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from transmeta.core.experience import Experience, History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.trial import Measurement, TrialId, TrialResult, TrialSpec, Verdict


class Search(Protocol):
    """Decides what to run next. Pure: no clock, no Ray, no randomness that its seed does not fix."""

    @property
    def rungs(self) -> Sequence[float]:
        """The shares of a trial's epochs, ascending in (0, 1), at which `report` may decide on its merits.

        An executor waits for the verdict on the first measurement that reaches a rung; it may report the others late,
        and together.
        """
        ...

    def ask(self, *, count: int) -> Sequence[TrialSpec]:
        """Returns up to `count` trials to start now; empty if none can start before a result is told.

        Empty with nothing running means that the search is over.
        """
        ...

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns whether a running trial goes on after `measurement`."""
        ...

    def tell(self, result: TrialResult) -> None:
        """Takes the result of a trial that `ask` returned, once for each."""
        ...


class TrialExecutor(Protocol):
    """Runs what a search asks for: in this process, or on a cluster."""

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search` after it was told, in order of completion."""
        ...


class Policy(Protocol):
    """An immutable decision rule."""

    @property
    def name(self) -> str:
        """Its name in tables and files."""
        ...

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms to try next on the target, best first, none that `history` already tried.

        Only sources in `features.pairs` are suggested. Pure: the same arguments give the same answer.
        """
        ...


@runtime_checkable
class CostAware(Protocol):
    """A policy that can hold what an arm brings against what it costs."""

    def by_cost(self) -> Policy:
        """Returns the same policy for a budget of time rather than of trials."""
        ...


@runtime_checkable
class GainAware(Protocol):
    """A policy that can say what going on is worth."""

    def expected_gain(self, features: MetaFeatures, history: History) -> float | None:
        """Returns by how much the best utility of `history` is expected to rise by the best choice that is left.

        None where nothing was observed that would tell.
        """
        ...


P = TypeVar("P", bound=Policy)


class PolicyLearner(Protocol[P]):
    """Makes a policy out of experience."""

    def initial(self) -> P:
        """Returns the policy that knows nothing."""
        ...

    def update(self, policy: P, experience: Sequence[Experience]) -> P:
        """Returns a policy learned from all of `experience`, starting from `policy`; neither is changed."""
        ...


class ProposalLog(Protocol):
    """Remembers what each round of a run set out to do, before doing it, so that a killed run goes on the same way."""

    def save_proposals(self, run: str, round: int, specs: Sequence[TrialSpec]) -> Sequence[TrialSpec]:
        """Makes the proposals durable and returns them; if the round already has some, returns those instead."""
        ...

    def proposals(self, run: str, round: int) -> Sequence[TrialSpec] | None:
        """Returns the proposals of a round in their order; None if it has none."""
        ...


class ExperienceStore(Protocol):
    """Remembers every trial."""

    def append(self, experience: Sequence[Experience]) -> int:
        """Makes all of `experience` durable before it returns, and returns how many were new.

        A known trial id is a no-op, except that a STOPPED trial is replaced by its COMPLETED or FAILED re-run, and by
        a STOPPED one with a longer curve.
        """
        ...

    def read(self, *, targets: Sequence[str] | None = None) -> Sequence[Experience]:
        """Returns the rows of `targets` (task ids; None for all), ordered by trial id."""
        ...
