"""What the meta-dataset is made of, without running anything: target cells, arms, and the rule against leaks."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from transmeta.core.experience import MetaFeatures
from transmeta.core.model import SCRATCH, ModelCard
from transmeta.core.plan import OptimiserPlan
from transmeta.core.task import Modality, Params, Task
from transmeta.core.trial import Arm, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import ConfigError
from transmeta.models.library import scratch_card, whole_id
from transmeta.strategies.catalogue import default_spec, find_strategy, sample_specs
from transmeta.tasks.catalogue import find_task
from transmeta.tasks.glyphs import GlyphTasks
from transmeta.tasks.pack import PackTasks
from transmeta.training.seeding import derive_seed
from transmeta.trials.source import SourceSpec

PACK: Final = "#"
"""Before the name of a task that is in the folder of packs."""
DRAWN: Final = 1000
"""Random settings from which those within the limits are taken."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """A source that is trained for the collection."""

    name: str
    architecture: str
    tasks: tuple[str, ...]
    epochs: int
    learning_rate: float = 3e-3

    def spec(self, *, packs: Path | None, seed: int) -> SourceSpec:
        """Returns what Ray Train is given."""
        return SourceSpec(
            name=self.name,
            architecture=self.architecture,
            tasks=tuple(described(name, packs=packs, seed=seed) for name in self.tasks),
            optimiser=OptimiserPlan(
                learning_rate=self.learning_rate, epochs=self.epochs, batch_size=64, weight_decay=0.01
            ),
            seed=seed,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfig:
    """Targets of one domain.

    Attributes:
        tasks: packaged ones by name, those in packs with `#` before it.
        shots: each task is tried with each; 0 for all examples.
        all_shots: tasks that are also tried with all examples.
        classes: at most so many of a task's classes, for tasks of many; None for all.
    """

    name: str
    tasks: tuple[str, ...]
    shots: tuple[int, ...]
    all_shots: tuple[str, ...] = ()
    classes: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArmConfig:
    """Settings of one strategy on some sources.

    Attributes:
        default: whether the strategy's default is one of them, where it is within the limits.
        samples: how many are drawn at random.
        limits: lowest and highest value of a hyperparameter.
    """

    modality: Modality
    sources: tuple[str, ...]
    strategy: str
    default: bool = True
    samples: int = 0
    limits: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaDatasetConfig:
    """The whole collection.

    Attributes:
        imported: known weights, by the names of `transmeta import-model`, to their file in the folder of packs; empty
            for those that a Python package carries.
        repeated: how many arms of each cell, the best by validation, are run with `repeat_seeds` too.
        cells_at_once: cells that are run together before the partial table is written.
    """

    workers: int
    seed: int
    repeated: int
    repeat_seeds: tuple[int, ...]
    cells_at_once: int
    packaged: tuple[str, ...]
    imported: Mapping[str, str]
    sources: tuple[SourceConfig, ...]
    domains: tuple[DomainConfig, ...]
    arms: tuple[ArmConfig, ...]


def described(
    name: str, *, packs: Path | None, shots: int | None = None, classes: int | None = None, seed: int = 0
) -> Task:
    """Returns the task called `name` in a config file.

    Raises:
        ConfigError: for a task in packs where no folder of packs was given.
    """
    at = "" if shots is None else f"@{shots}"
    is_packed = name.startswith(PACK)
    if is_packed and packs is None:
        raise ConfigError(f"task {name}: it is in a pack; give the folder of packs with --packs")
    params: Params = {} if classes is None else {"classes": classes}
    if is_packed:
        params = {"path": str(packs), "task": name.removeprefix(PACK), **params}
        return PackTasks().describe(params, shots=shots, seed=seed)
    if classes is not None:
        return GlyphTasks().describe({"task": name, **params}, shots=shots, seed=seed)
    return find_task(name + at, seed=seed)


def cells(config: MetaDatasetConfig, *, packs: Path | None, domains: Sequence[str] | None = None) -> tuple[Task, ...]:
    """Returns the target cells (task and shots) in an order of which every beginning is balanced over the domains.

    Within a domain each task comes once, with shots that change from task to task, before any comes again.
    """
    placed: list[tuple[float, int, Task]] = []
    for number, domain in enumerate(config.domains):
        if domains is not None and domain.name not in domains:
            continue
        chosen = _in_turn(domain)
        for index, (name, shots) in enumerate(chosen):
            task = described(name, packs=packs, shots=shots or None, classes=domain.classes, seed=config.seed)
            if task.domain != domain.name:
                raise ConfigError(f"task {name} is of the domain {task.domain}, not {domain.name}; correct the config")
            placed.append(((index + 0.5) / len(chosen), number, task))
    return tuple(task for _, _, task in sorted(placed, key=lambda item: item[:2]))


def _in_turn(domain: DomainConfig) -> list[tuple[str, int]]:
    count = len(domain.shots)
    rounds = [
        [(name, domain.shots[(index + turn) % count]) for index, name in enumerate(domain.tasks)]
        for turn in range(count)
    ]
    chosen = [cell for cells_of_round in rounds for cell in cells_of_round]
    for index, name in enumerate(domain.all_shots):  # spread over the others, so that an early end has some of them
        chosen.insert((index + 1) * len(chosen) // (len(domain.all_shots) + 1), (name, 0))
    return chosen


def cards_of(
    config: MetaDatasetConfig, targets: Sequence[Task], *, packs: Path | None, known: Mapping[str, ModelCard]
) -> tuple[ModelCard, ...]:
    """Returns the cards of all sources of the collection, which are among those `known`, and of training from scratch.

    Raises:
        UnknownNameError: if one was not trained or imported yet.
    """
    ids = [
        *config.imported,
        *(source.spec(packs=packs, seed=config.seed).model_id for source in config.sources),
        *config.packaged,
    ]
    blank = {card.id: card for card in map(scratch_card, targets)}
    return (*(known[whole_id(name, known=known, kind="source")] for name in ids), *blank.values())


def pools_of(
    config: MetaDatasetConfig, targets: Sequence[Task], *, cards: Sequence[ModelCard]
) -> Mapping[Modality, tuple[Arm, ...]]:
    """Returns the fixed pool of arms for each modality among `targets`."""
    return {
        modality: arms_for(config.arms, cards=cards, modality=modality, seed=config.seed)
        for modality in {target.modality for target in targets}
    }


def arms_for(
    configs: Sequence[ArmConfig], *, cards: Sequence[ModelCard], modality: Modality, seed: int
) -> tuple[Arm, ...]:
    """Returns the fixed pool of arms for targets of a modality.

    Raises:
        ConfigError: if the limits leave fewer random settings than were asked for.
    """
    found: dict[str, Arm] = {}
    known = {card.id: card for card in cards if card.modality is modality}
    for config in configs:
        if config.modality is not modality:
            continue
        for name in config.sources:
            card = known[_card_id(name, known=known)]
            for arm in _arms_of(config, card=card, seed=derive_seed(seed, name, config.strategy)):
                found.setdefault(arm.key, arm)
    return tuple(found.values())


def _arms_of(config: ArmConfig, *, card: ModelCard, seed: int) -> list[Arm]:
    strategy = find_strategy(config.strategy)
    specs = [default_spec(config.strategy, card)] if config.default else []
    specs = [spec for spec in specs if _is_within(spec.params, config.limits)]
    if config.samples:
        drawn = sample_specs(strategy, card, count=DRAWN, seed=seed)
        inside = [spec for spec in drawn if _is_within(spec.params, config.limits)][: config.samples]
        if len(inside) < config.samples:
            raise ConfigError(
                f"{config.strategy} on {card.id}: {len(inside)} of {DRAWN} random settings are within the limits, "
                f"and {config.samples} are needed; widen the limits"
            )
        specs += inside
    return [Arm(source=card.id, strategy=spec) for spec in specs]


def _card_id(name: str, *, known: Mapping[str, ModelCard]) -> str:
    if name == SCRATCH:
        return next(key for key, card in known.items() if not card.is_pretrained)
    return whole_id(name, known=known, kind="source")


def _is_within(params: Params, limits: Mapping[str, tuple[float, float]]) -> bool:
    """Returns whether all limited hyperparameters that are active have a value within their limits."""
    values = {name: params[name] for name in limits if name in params}
    return all(isinstance(v, int | float) and limits[k][0] <= v <= limits[k][1] for k, v in values.items())


def among(features: MetaFeatures, *, cards: Sequence[ModelCard]) -> MetaFeatures:
    """Returns `features` with no sources but those of the collection; those that have seen the target are not there."""
    ids = {card.id for card in cards}
    return dataclasses.replace(features, pairs={key: pair for key, pair in features.pairs.items() if key in ids})


def check_leaks(specs: Sequence[TrialSpec], *, cards: Sequence[ModelCard]) -> None:
    """Checks that no trial transfers a source to a data set that it was trained on.

    Raises:
        ConfigError: if one does.
    """
    by_id = {card.id: card for card in cards}
    for spec in specs:
        if not by_id[spec.pair.source].is_allowed_for(spec.target):
            raise ConfigError(f"{spec.pair.source} has seen {spec.target.dataset}; leave it out of this cell")


def repeats(results: Sequence[TrialResult], *, count: int, seeds: Sequence[int]) -> tuple[TrialSpec, ...]:
    """Returns the best `count` trials of each target, by validation score, to be run again with other seeds."""
    by_target: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status is TrialStatus.COMPLETED and result.utility is not None and result.spec.seed not in seeds:
            by_target.setdefault(result.spec.target.id, []).append(result)
    return tuple(
        dataclasses.replace(result.spec, seed=seed)
        for found in by_target.values()
        for result in sorted(found, key=lambda one: (-(one.utility or 0.0), one.spec.id))[:count]
        for seed in seeds
    )
