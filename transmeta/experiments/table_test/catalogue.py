"""The methods that can be compared, and what each needs of a table."""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from transmeta.errors import InputError, UnknownNameError
from transmeta.experiments.table_test.baselines.gaussian_bo import GaussianBo
from transmeta.experiments.table_test.baselines.restricted import Restricted
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.halving import RUNGS, RandomHalving
from transmeta.experiments.table_test.orders import (
    LOGME,
    Fixed,
    GreedyRank,
    GreedyRegret,
    LogmeTopK,
    MeanRank,
    Nearest,
    RandomOrder,
    Scratch,
)
from transmeta.experiments.table_test.split import Split
from transmeta.policies.adaptive.protocol import Method
from transmeta.policies.table import is_scratch

EXTRA: Final = "meta-test"
"""The optional packages that some baselines and the plots need."""
OURS: Final = "adaptive"
PARTS: Final = "has_"
"""Fields of the adaptive method that switch one of its parts off."""

Lacks = Callable[[Ground], str | None]
"""Says what a table lacks for a method; None where it lacks nothing."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A method of the catalogue."""

    make: Callable[[Split], Method]
    lacks: Lacks


def names() -> tuple[str, ...]:
    """Returns the names of all methods, in the order of tables."""
    return tuple(_catalogue())


def choose(
    ground: Ground, wanted: Sequence[str] | None, *, split: Split, with_ablations: bool = False
) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """Returns the methods that the table has the columns for, and a notice for each that was left out.

    Args:
        wanted: names; None for all.

    Raises:
        InputError: if a method that was named cannot run on the table.
        UnknownNameError: if there is no such method.
    """
    catalogue = _catalogue()
    for name in wanted or ():
        if name not in catalogue:
            raise UnknownNameError("method", name=name, known=catalogue)
    methods: list[Method] = []
    notices: list[str] = []
    for name in wanted or catalogue:
        entry = catalogue[name]
        lack = entry.lacks(ground)
        if lack is None:
            methods.append(entry.make(split))
        elif wanted:
            raise InputError(f"meta-test: {name} cannot run: {lack}")
        else:
            notices.append(f"without {name}: {lack}")
    if with_ablations:
        methods += ablations(split)
    return tuple(methods), tuple(notices)


def ablations(split: Split) -> tuple[Method, ...]:
    """Returns our method with each of its parts taken out, one at a time."""
    from transmeta.policies.adaptive.method import AdaptiveMethod

    whole = AdaptiveMethod(by_domain=split is Split.FAMILY)
    parts = [field.name for field in dataclasses.fields(AdaptiveMethod) if field.name.startswith(PARTS)]
    return tuple(
        dataclasses.replace(
            whole,
            name=f"{OURS}-without-{part.removeprefix(PARTS)}",
            **{part: False},  # type: ignore[arg-type]  # mypy cannot know that these fields are truth values
        )
        for part in parts
    )


def _catalogue() -> Mapping[str, Entry]:
    return {
        OURS: Entry(make=_adaptive, lacks=_nothing),
        "greedy_regret": _plain(GreedyRegret()),
        "greedy_rank": _plain(GreedyRank()),
        "mean_rank": _plain(MeanRank()),
        "gp": Entry(make=_gaussian, lacks=_nothing),
        "thompson": Entry(make=_thompson, lacks=_params),
        "nearest": _plain(Nearest(), lacks=_target_features),
        "logme_top_k": _plain(LogmeTopK(), lacks=_logme, is_blind=True),
        "full_finetune": _plain(Fixed(strategy="full_finetune"), lacks=_strategy("full_finetune"), is_blind=True),
        "linear_probe": _plain(Fixed(strategy="linear_probe"), lacks=_strategy("linear_probe"), is_blind=True),
        "scratch": _plain(Scratch(), lacks=_from_scratch, is_blind=True),
        "tpe": Entry(make=_tpe, lacks=_optuna),
        "gp_bo": _plain(GaussianBo(), lacks=_params, is_blind=True),
        "random_asha": Entry(make=lambda split: RandomHalving(), lacks=_steps),
        "random": Entry(make=lambda split: RandomOrder(), lacks=_nothing),
    }


def _plain(method: Method, *, lacks: Lacks = lambda ground: None, is_blind: bool = False) -> Entry:
    """Returns the entry of a rival, which learns from the configurations that are allowed on the present target."""
    return Entry(make=lambda split: Restricted(method=method, is_blind=is_blind), lacks=lacks)


def _adaptive(split: Split) -> Method:
    from transmeta.policies.adaptive.method import AdaptiveMethod  # it loads torch

    return AdaptiveMethod(by_domain=split is Split.FAMILY)


def _gaussian(split: Split) -> Method:
    from transmeta.experiments.table_test.gaussian import GaussianProcess  # it loads scikit-learn

    return Restricted(method=GaussianProcess())


def _thompson(split: Split) -> Method:
    from transmeta.experiments.table_test.baselines.thompson import Thompson  # it loads scikit-learn

    return Restricted(method=Thompson())


def _tpe(split: Split) -> Method:
    from transmeta.experiments.table_test.tpe import Tpe

    return Restricted(method=Tpe(), is_blind=True)


def _nothing(ground: Ground) -> str | None:
    return None


def _params(ground: Ground) -> str | None:
    return None if any(ground.table.params) else "no hyperparameters: no columns 'param.…', and no --configs"


def _target_features(ground: Ground) -> str | None:
    return None if ground.table.target_features else "no columns 'target_feature.…'"


def _logme(ground: Ground) -> str | None:
    if ground.table.sources is None:
        return "no column 'source'"
    return None if LOGME in ground.table.pair_features else f"no column 'feature.{LOGME}'"


def _strategy(name: str) -> Lacks:
    def lacks(ground: Ground) -> str | None:
        if ground.table.strategies is None:
            return "no column 'strategy'"
        return None if name in ground.table.strategies else f"no configuration has the strategy {name}"

    return lacks


def _from_scratch(ground: Ground) -> str | None:
    if ground.table.sources is None:
        return "no column 'source'"
    return None if any(map(is_scratch, ground.table.sources)) else "no source is 'scratch' or 'scratch-…'"


def _steps(ground: Ground) -> str | None:
    most = int(ground.steps.max())
    return None if most >= RUNGS else f"runs have {most} step(s), and early stopping needs {RUNGS}"


def _optuna(ground: Ground) -> str | None:
    if importlib.util.find_spec("optuna") is None:
        return f"Optuna is not installed (pip install 'transmeta[{EXTRA}]')"
    return None
