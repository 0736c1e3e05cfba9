"""Plots of a comparison: regret against evaluations and against cost, critical differences, calibration.

Matplotlib and scikit-posthocs belong to the extra `meta-test`; they are imported when something is drawn.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from transmeta.errors import InputError
from transmeta.experiments.table_test.catalogue import EXTRA
from transmeta.experiments.table_test.figures import GRID
from transmeta.experiments.table_test.report import anytime_by_unit, is_in_seconds, units_of
from transmeta.experiments.table_test.run import Result
from transmeta.policies.adaptive.protocol import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDED: Final = ("matplotlib", "scikit_posthocs")
SIZE: Final = (8.0, 5.0)
ALPHA: Final = 0.05


def check_can_draw(folder: Path) -> None:
    """Checks, before anything long, that plots can be drawn into `folder`.

    Raises:
        InputError: if the packages are missing, or the folder is a file.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"--plots needs {' and '.join(missing)}: pip install 'transmeta[{EXTRA}]'")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--plots {folder}: a file; name a folder")


def draw(result: Result, *, folder: Path) -> tuple[Path, ...]:
    """Draws all plots that the table allows into `folder`, and returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [_draw_evaluations(result, folder / "regret_by_evaluations.png")]
    if is_in_seconds(result.ground):
        drawn.append(_draw_seconds(result, folder / "regret_by_cost_seconds.png"))
    if len(result.played) > 2 and result.report.units > 2:
        drawn.append(_draw_critical_differences(result, folder / "critical_differences.png"))
    if any(item.forecasts for item in result.report.methods.values()):
        drawn.append(_draw_calibration(result, folder / "calibration.png"))
    return tuple(drawn)


def _draw_evaluations(result: Result, path: Path) -> Path:
    unit = result.report.at_unit
    at = unit * np.arange(1, result.report.points + 1, dtype=np.float64)
    label = "evaluations" if unit == 1 else "cost"
    return _draw_curves(_curves(result, "regret"), at, path=path, label=label, is_log=False)


def _draw_seconds(result: Result, path: Path) -> Path:
    return _draw_curves(_curves(result, "at_grid"), np.array(GRID), path=path, label="cost, seconds", is_log=True)


def _curves(result: Result, field: str) -> Mapping[str, Array]:
    """Returns each method's curve, averaged over the targets of a data set, then over data sets."""
    return {
        item.method: np.mean(
            [np.mean([getattr(run, field) for run in runs], axis=0) for runs in units_of(result.ground, item).values()],
            axis=0,
        )
        for item in result.played
    }


def _draw_curves(curves: Mapping[str, Array], at: Array, *, path: Path, label: str, is_log: bool) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes: Axes = figure.subplots()
    for index, (name, values) in enumerate(curves.items()):
        axes.plot(at, np.maximum(values, 1e-4), label=name, linewidth=2.5 if index == 0 else 1.2)
    if is_log:
        axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("regret / (best - median)")
    axes.legend(fontsize="small", ncols=2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    return path


def _draw_critical_differences(result: Result, path: Path) -> Path:
    """Draws mean ranks over data sets; bars join methods that Wilcoxon-Holm does not tell apart at 5 %."""
    import pandas as pd
    import scikit_posthocs
    from matplotlib.figure import Figure

    from transmeta.experiments.statistics import holm, paired

    table = pd.DataFrame({item.method: anytime_by_unit(result.ground, item) for item in result.played})
    names = list(table.columns)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    corrected = holm([paired((table[a] - table[b]).tolist()).p for a, b in pairs])
    p = pd.DataFrame(1.0, index=names, columns=names)
    for (a, b), value in zip(pairs, corrected, strict=True):
        p.loc[a, b] = p.loc[b, a] = value
    figure = Figure(figsize=(SIZE[0], 1.5 + 0.25 * len(names)), layout="constrained")
    axes = figure.subplots()
    scikit_posthocs.critical_difference_diagram(table.rank(axis=1).mean(), p, ax=axes, alpha=ALPHA)
    figure.savefig(path, dpi=150)
    return path


def _draw_calibration(result: Result, path: Path) -> Path:
    """Draws, for each data set, the share of final values inside the predicted 90 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes: Axes = figure.subplots()
    for item in result.played:
        shares = [
            float(np.concatenate([run.covered for run in runs]).mean())
            for runs in units_of(result.ground, item).values()
            if any(run.covered.size for run in runs)
        ]
        if shares:
            axes.plot(np.arange(1, len(shares) + 1), sorted(shares), marker="o", label=item.method)
    axes.axhline(0.9, color="black", linestyle="--", label="90 %")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("data sets, by coverage")
    axes.set_ylabel("share of values inside the interval")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    return path
