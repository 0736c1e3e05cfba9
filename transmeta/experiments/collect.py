"""Collects experience: every arm of a list on every target that allows its source."""

from collections.abc import Mapping, Sequence

from transmeta.core.experience import MetaFeatures
from transmeta.core.plan import Precision
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import Arm, TrialResult, TrialSpec
from transmeta.experiments.run import Workbench, run
from transmeta.experiments.search import ReplaySearch


def collect(
    targets: Sequence[Task],
    *,
    arms: Sequence[Arm],
    features: Mapping[str, MetaFeatures],
    bench: Workbench,
    seeds: Sequence[int] = (0,),
) -> Sequence[TrialResult]:
    """Runs `arms` on `targets` to their end, and returns the results of the trials that were not known before."""
    return run(
        ReplaySearch(specs_for(targets, arms=arms, features=features, seeds=seeds)), bench=bench, features=features
    )


def specs_for(
    targets: Sequence[Task],
    *,
    arms: Sequence[Arm],
    features: Mapping[str, MetaFeatures],
    seeds: Sequence[int] = (0,),
    precision: Precision = Precision.FLOAT32,
) -> tuple[TrialSpec, ...]:
    """Returns a trial for each target, arm and seed, target by target; arms whose source is barred are left out."""
    return tuple(
        TrialSpec(
            pair=TaskPair(source=arm.source, target=target), strategy=arm.strategy, seed=seed, precision=precision
        )
        for target in targets
        for seed in seeds
        for arm in arms
        if arm.source in features[target.id].pairs
    )
