"""The best models of a search, answering together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from transmeta.core.protocols import Search
from transmeta.core.trial import TrialId, TrialResult, TrialStatus
from transmeta.errors import InputError
from transmeta.experiments.adapt import ranked, run_again
from transmeta.experiments.run import Workbench
from transmeta.experiments.search import Deadline, ReplaySearch
from transmeta.tasks.catalogue import load_task
from transmeta.trials.predict import AdaptedModel

LARGEST: Final = 100
SLACK: Final = 2.0
"""Where time is short, each further member is taken to need so many times what the best one needed to be scored."""


def check_ensemble(count: int) -> None:
    """Checks that `count` models can answer together.

    Raises:
        InputError: if not.
    """
    if not 1 <= count <= LARGEST:
        raise InputError(f"an ensemble of {count} models; give 1, for the best one alone, to {LARGEST}")


def members_of(results: Sequence[TrialResult], *, count: int) -> Sequence[TrialResult]:
    """Returns the best result and up to `count` - 1 of the others that ran to their end, best first.

    The best of each source and strategy comes before further ones of the same, which err on the same examples.
    """
    best, *others = ranked(results)
    kinds: set[tuple[str, str]] = set()
    new: list[TrialResult] = []
    alike: list[TrialResult] = []
    for result in (best, *(other for other in others if other.status is TrialStatus.COMPLETED)):
        kind = (result.spec.pair.source, result.spec.strategy.name)
        (alike if kind in kinds else new).append(result)
        kinds.add(kind)
    return ranked([*new, *alike][:count])


def with_models(
    members: Sequence[TrialResult], *, bench: Workbench, clock: Callable[[], float], at: float | None
) -> Sequence[TrialResult]:
    """Returns the members whose models are at hand, in order, the first in any case.

    The trial of a model that was not kept, because an earlier search ran it, is run once more: that of the first member
    whatever the time, those of the others as far as they end before `at` on `clock`.
    """
    best, *others = members
    first = best if _has_model(best) else run_again(best, bench=bench)
    again: dict[TrialId, TrialResult] = {}
    if missing := [result.spec for result in others if not _has_model(result)]:
        replay = ReplaySearch(missing)
        search: Search = replay if at is None else Deadline(replay, clock=clock, at=at)
        ended = {result.spec.id: result for result in bench.executor.drive(search)}
        again = {trial: result for trial, result in ended.items() if result.status is TrialStatus.COMPLETED}
    at_hand = [again.get(result.spec.id, result) for result in others]
    return [first, *(result for result in at_hand if _has_model(result))]


def score_together(
    members: Sequence[TrialResult], *, clock: Callable[[], float], at: float | None
) -> tuple[Sequence[TrialResult], float, float]:
    """Returns the members that can be scored before `at`, the first in any case, and two scores on the test split.

    Returns:
        The members; the score of all of them, answering by the mean of their probabilities; that of the first alone.
    """
    target = members[0].spec.target
    test = load_task(target).test
    folders = [folder_of(result) for result in members]
    began_s = clock()
    alone = AdaptedModel.load(folders[0]).score(test, metric=target.metric)
    ended_s = clock()
    if at is not None:
        each_s = SLACK * max(ended_s - began_s, 1e-6)
        members = members[: max(1, int((at - ended_s) / each_s))]
    if len(members) == 1:
        return members, alone, alone
    together = AdaptedModel.together(folders[: len(members)])
    return members, together.score(test, metric=target.metric), alone


def folder_of(result: TrialResult) -> Path:
    """Returns the folder of its model."""
    assert result.checkpoint is not None, "the executor keeps models in the folder that it was given"
    return Path(result.checkpoint)


def _has_model(result: TrialResult) -> bool:
    return result.checkpoint is not None and folder_of(result).is_dir()
