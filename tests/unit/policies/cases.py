"""Small hand-written experience for the tests of policies."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import final

from transmeta.core.experience import Experience, MetaFeatures, Provenance
from transmeta.core.task import Modality, Params, Task, TaskPair
from transmeta.core.trial import Arm, StrategySpec, TrialResult, TrialSpec, TrialStatus

PROVENANCE = Provenance(version="0.0.0", run="test", executor="local", created_at="2026-01-01T00:00:00Z")


def arm(source: str, strategy: str = "linear_probe", **params: bool | int | float | str) -> Arm:
    return Arm(source=source, strategy=StrategySpec(name=strategy, params=params))


def task(name: str, *, shots: int | None = 10, domain: str = "scripts") -> Task:
    return Task(
        name=name,
        provider="pack",
        params={},
        dataset=name,
        domain=domain,
        modality=Modality.IMAGE,
        shape=(32, 32, 1),
        class_count=5,
        fingerprint="0" * 16,
        shots=shots,
    )


def result(
    target: Task,
    choice: Arm,
    score: float | None,
    *,
    status: TrialStatus = TrialStatus.COMPLETED,
    seed: int = 0,
    cost_s: float = 1.0,
    test_score: float | None = None,
) -> TrialResult:
    spec = TrialSpec(pair=TaskPair(source=choice.source, target=target), strategy=choice.strategy, seed=seed)
    tested = score if test_score is None and status is TrialStatus.COMPLETED else test_score
    return TrialResult(spec=spec, status=status, score=score, test_score=tested, cost_s=cost_s)


def row(
    trial: TrialResult, *, features: Mapping[str, float] | None = None, pair: Mapping[str, float] | None = None
) -> Experience:
    return Experience(
        result=trial, target_features=dict(features or {}), pair_features=dict(pair or {}), provenance=PROVENANCE
    )


def experience(
    scores: Mapping[str, Mapping[str, float]],
    *,
    arms: Mapping[str, Arm],
    features: Mapping[str, Mapping[str, float]] | None = None,
    pairs: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> tuple[Experience, ...]:
    """Returns one COMPLETED trial for each score in target name → arm name → score."""
    return tuple(
        row(
            result(task(name), arms[label], score),
            features=(features or {}).get(name),
            pair=(pairs or {}).get(name, {}).get(arms[label].source),
        )
        for name, line in scores.items()
        for label, score in line.items()
    )


def meta_features(
    sources: Sequence[str],
    *,
    name: str = "new",
    target: Mapping[str, float] | None = None,
    pairs: Mapping[str, Mapping[str, float]] | None = None,
) -> MetaFeatures:
    return MetaFeatures(
        target_id=task(name).id,
        target=dict(target or {}),
        pairs={source: dict((pairs or {}).get(source, {})) for source in sources},
    )


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CountingProposer:
    """Proposes a linear probe with rate 1, 2, 3, ... on each source in turn, shifted by the seed."""

    strategies: tuple[str, ...] = ("linear_probe",)
    most: int = 1000

    def propose(self, *, sources: Sequence[str], count: int, seed: int) -> Sequence[Arm]:
        options: list[tuple[str, str, Params]] = [
            (source, strategy, {"rate": rate})
            for rate in range(1, self.most + 1)
            for source in sources
            for strategy in self.strategies
        ]
        shift = seed % len(options) if options else 0
        turned = options[shift:] + options[:shift]
        return tuple(Arm(source=s, strategy=StrategySpec(name=n, params=p)) for s, n, p in turned[:count])
