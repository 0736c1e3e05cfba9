"""Configurations as points and values as scores, for regressions.

Letters: T targets, C configurations, F columns of the design.
"""

import numpy as np
from scipy.stats import norm, rankdata

from transmeta.experiments.table_test.tpe import Space
from transmeta.policies.adaptive.protocol import Array, Curves


def normal_scores(regret: Array) -> Array:
    """Returns Φ⁻¹ of the share of a target's configurations that are worse, (T, C); equal ones share it.

    NaN where not tried.
    """
    ranks = np.asarray(rankdata(np.round(-regret, 12), axis=1, nan_policy="omit"))
    counts = (~np.isnan(regret)).sum(axis=1, keepdims=True)
    return np.asarray(norm.ppf((ranks - 0.5) / np.maximum(counts, 1)))


def design(curves: Curves) -> Array:
    """Returns what describes the configurations, (C, F): numbers from 0 to 1, NaN where they lack one; choices as 0, 1.

    Where configurations have nothing but names, each has a column of its own.
    """
    space = Space(curves)
    rows = [space.values(config) for config in range(len(curves.configs))]
    columns = [
        [number.scaled(float(row[name])) if name in row else np.nan for row in rows]
        for name, number in space.numbers.items()
    ]
    for name, texts in space.choices.items():
        columns += [[float(row.get(name) == text) for row in rows] for text in texts]
    return np.array(columns, dtype=np.float64).reshape(len(columns), len(rows)).T
