"""A small world for the live policy: `near` is good where the feature `fit` is large, `far` where it is small."""

import functools

import numpy as np

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.trial import Arm, Measurement, TrialResult, TrialStatus
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.adaptive.policy import AdaptivePolicy
from transmeta.policies.network.training import TrainingPlan

from ..cases import CountingProposer, arm, meta_features, result, row, task

PROPOSER = CountingProposer(strategies=("lora",))
SOURCES = ("near", "far", "scratch-small_cnn")
ARMS = tuple(arm(source, "full_finetune", rate=rate) for source in SOURCES for rate in (0.01, 0.1))
PLAN = TrainingPlan(members=2, fold_members=1, hidden=8, steps=30)
LEARNER = AdaptiveLearner(proposer=PROPOSER, plan=PLAN)
COSTS = {"near": 8.0, "far": 2.0, "scratch-small_cnn": 4.0}


def measurement(progress: float, value: float, *, cost_s: float = 1.0) -> Measurement:
    return Measurement(
        epoch=round(9 * progress),
        progress=progress,
        progress_before=progress - 1 / 9,
        value=value,
        train_loss=0.1,
        cost_s=cost_s,
        wall_s=cost_s,
    )


def score_of(choice: Arm, fit: float) -> float:
    sign = {"near": 1.0, "far": -1.0, SOURCES[2]: 0.0}[choice.source]
    return 0.5 + 0.3 * sign * fit - (0.02 if choice.strategy.params["rate"] == 0.1 else 0.0)


def trial(name: str, choice: Arm, score: float, *, seed: int = 0, cost_s: float = 1.0) -> TrialResult:
    """A completed trial whose value rises to `score` in ninths."""
    done = result(task(name), choice, score, seed=seed, cost_s=cost_s)
    curve = tuple(measurement(k / 9, score - 0.01 * (9 - k)) for k in range(1, 10))
    return type(done)(**{**{n: getattr(done, n) for n in done.__dataclass_fields__}, "curve": curve})


def stopped(name: str, choice: Arm, value: float, *, progress: float = 3 / 9) -> TrialResult:
    """A trial that was stopped after a share of it."""
    begun = result(task(name), choice, value, status=TrialStatus.STOPPED, test_score=None)
    fields = {n: getattr(begun, n) for n in begun.__dataclass_fields__}
    return type(begun)(**{**fields, "test_score": None, "curve": (measurement(progress, value),)})


@functools.cache
def rows(count: int = 8) -> tuple[Experience, ...]:
    fits = np.linspace(-1, 1, count)
    return tuple(
        row(
            trial(f"set{i}", choice, score_of(choice, float(fit)), cost_s=COSTS[choice.source] * (1 + i)),
            features={"log_examples": float(i)},
            pair={"logme": float(fit) * {"near": 1.0, "far": -1.0}.get(choice.source, 0.0)},
        )
        for i, fit in enumerate(fits)
        for choice in ARMS
    )


def present(fit: float, *, sources: tuple[str, ...] = SOURCES) -> MetaFeatures:
    pairs = {"near": {"logme": fit}, "far": {"logme": -fit}, SOURCES[2]: {"logme": 0.0}}
    return meta_features(sources, target={"log_examples": 3.0}, pairs=pairs)


@functools.cache
def policy() -> AdaptivePolicy:
    return LEARNER.update(LEARNER.initial(), rows())
