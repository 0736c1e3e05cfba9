"""Methods that ours is compared with, and the columns of a table that each needs.

All but the blind ones learn from the configurations that are allowed on the present target, and from the known targets
that tried any of these. Optuna (TPE) and scikit-learn are imported when a method that needs them starts.
"""

import dataclasses
from typing import Final, final

from transmeta.experiments.table_test.baselines.gaussian_bo import GaussianBo
from transmeta.experiments.table_test.baselines.restricted import Restricted
from transmeta.experiments.table_test.baselines.thompson import Thompson
from transmeta.experiments.table_test.gaussian import GaussianProcess
from transmeta.experiments.table_test.halving import RandomHalving
from transmeta.experiments.table_test.orders import (
    Fixed,
    GreedyRank,
    GreedyRegret,
    LogmeTopK,
    MeanRank,
    Nearest,
    RandomOrder,
    Scratch,
)
from transmeta.experiments.table_test.tpe import Tpe
from transmeta.policies.adaptive.protocol import Method

SOURCES: Final = "sources"
STRATEGIES: Final = "strategies"
PARAMS: Final = "params"
TARGET_FEATURES: Final = "target_features"
LOGME: Final = "logme"


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A method to compare with.

    Attributes:
        needs: of `sources`, `strategies`, `params`, `target_features`, `logme`, what a table must have for it.
    """

    method: Method
    needs: frozenset[str] = frozenset()


def baselines() -> tuple[Baseline, ...]:
    """Returns all baselines, those that learn from other targets first."""
    return (
        Baseline(method=Restricted(method=GreedyRegret())),
        Baseline(method=Restricted(method=GreedyRank())),
        Baseline(method=Restricted(method=MeanRank())),
        Baseline(method=Restricted(method=GaussianProcess())),
        Baseline(method=Restricted(method=Thompson()), needs=frozenset({PARAMS})),
        Baseline(method=Restricted(method=Nearest()), needs=frozenset({TARGET_FEATURES})),
        Baseline(method=Restricted(method=LogmeTopK(), is_blind=True), needs=frozenset({SOURCES, LOGME})),
        Baseline(
            method=Restricted(method=Fixed(strategy="full_finetune"), is_blind=True), needs=frozenset({STRATEGIES})
        ),
        Baseline(
            method=Restricted(method=Fixed(strategy="linear_probe"), is_blind=True), needs=frozenset({STRATEGIES})
        ),
        Baseline(method=Restricted(method=Scratch(), is_blind=True), needs=frozenset({SOURCES})),
        Baseline(method=Restricted(method=Tpe(), is_blind=True)),
        Baseline(method=Restricted(method=GaussianBo(), is_blind=True), needs=frozenset({PARAMS})),
        Baseline(method=RandomHalving(name="asha")),
        Baseline(method=RandomOrder()),
    )
