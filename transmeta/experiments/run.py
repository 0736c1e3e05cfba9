"""Drives a search and remembers every trial before going on."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from transmeta.core.experience import Experience, MetaFeatures, Provenance
from transmeta.core.protocols import ExperienceStore, Search, TrialExecutor
from transmeta.core.trial import TrialId, TrialResult
from transmeta.experiments.search import Recall

OnResult = Callable[[TrialResult], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What every loop works with; put together by the command line or the Python interface.

    Attributes:
        provenance: makes the provenance of a trial that just ended.
        on_result: called after each trial was stored, for progress.
    """

    executor: TrialExecutor
    store: ExperienceStore
    provenance: Callable[[], Provenance]
    on_result: OnResult = lambda result: None


def run(search: Search, *, bench: Workbench, features: Mapping[str, MetaFeatures]) -> Sequence[TrialResult]:
    """Runs `search` to its end and returns the results of the trials that were not known before.

    Each result is durable in the store before the next is waited for; those that end together are stored together.

    Args:
        features: by target id, stored with each trial.
    """
    fresh: list[TrialResult] = []
    recalling = Recall(search, known=known_results(bench.store, targets=tuple(features)))
    for result in bench.executor.drive(recalling):
        if ended := recalling.take():
            provenance = bench.provenance()
            bench.store.append([_experience(one, features[one.spec.target.id], provenance) for one in ended])
        fresh.append(result)
        bench.on_result(result)
    return fresh


def known_results(store: ExperienceStore, *, targets: Sequence[str]) -> Mapping[TrialId, TrialResult]:
    """Returns the stored results on `targets`, by trial id."""
    return {row.result.spec.id: row.result for row in store.read(targets=targets)}


def _experience(result: TrialResult, features: MetaFeatures, provenance: Provenance) -> Experience:
    return Experience(
        result=dataclasses.replace(result, checkpoint=None),
        target_features=features.target,
        pair_features=features.pairs.get(result.spec.pair.source, {}),
        provenance=provenance,
    )
