"""Small tables of curves with a known structure."""

import numpy as np

from transmeta.policies.adaptive.protocol import Allowance, Curves, Present

SOURCES = ("near", "far", "scratch")
STEPS = 3


def curves(*, groups: int = 8, seed: int = 0, domains: int = 4) -> Curves:
    """Two targets in each group; the source `near` is the better, the larger the feature `logme` is for it."""
    rng = np.random.default_rng(seed)
    configs = [(source, rate) for source in SOURCES for rate in (0.01, 0.1, 1.0)]
    count = 2 * groups
    fit = rng.uniform(-1, 1, count)
    final = np.empty((count, len(configs)))
    logme = np.zeros((count, len(configs)))
    for c, (source, rate) in enumerate(configs):
        sign = {"near": 1.0, "far": -1.0, "scratch": 0.0}[source]
        logme[:, c] = sign * fit
        final[:, c] = 0.5 + 0.2 * sign * fit - 0.05 * abs(np.log10(rate) + 1) + rng.normal(0, 0.005, count)
    values = final[:, :, None] - 0.1 * np.arange(STEPS - 1, -1, -1)
    best, median = final.max(axis=1), np.median(final, axis=1)
    regret = np.clip((best[:, None, None] - values) / (best - median)[:, None, None], 0, 3)
    return Curves(
        targets=tuple(f"t{i:02d}" for i in range(count)),
        groups=tuple(f"g{i // 2}" for i in range(count)),
        domains=tuple(f"d{(i // 2) % domains}" for i in range(count)),
        values=values,
        failed=np.zeros(final.shape, dtype=np.bool_),
        observed=np.ones(final.shape, dtype=np.bool_),
        steps=np.full(final.shape, STEPS, dtype=np.int64),
        cost_s=np.full(values.shape, 0.5) * (1 + np.arange(len(configs)))[None, :, None],
        final=final,
        regret=regret,
        configs=tuple(f"{source}|{rate}" for source, rate in configs),
        sources=tuple(source for source, _ in configs),
        strategies=tuple("full_finetune" for _ in configs),
        params=tuple({"learning_rate": rate} for _, rate in configs),
        target_features={"log_examples": rng.normal(size=count)},
        pair_features={"logme": logme},
    )


def without(known: Curves, group: str) -> Curves:
    """The curves without the targets of a group."""
    return take(known, [i for i, name in enumerate(known.groups) if name != group])


def take(known: Curves, rows: list[int]) -> Curves:
    """The curves of some targets."""
    return Curves(
        targets=tuple(known.targets[i] for i in rows),
        groups=tuple(known.groups[i] for i in rows),
        domains=tuple(known.domains[i] for i in rows),
        values=known.values[rows],
        failed=known.failed[rows],
        observed=known.observed[rows],
        steps=known.steps[rows],
        cost_s=known.cost_s[rows],
        final=known.final[rows],
        regret=known.regret[rows],
        configs=known.configs,
        sources=known.sources,
        strategies=known.strategies,
        params=known.params,
        target_features={name: values[rows] for name, values in known.target_features.items()},
        pair_features={name: values[rows] for name, values in known.pair_features.items()},
    )


def present(known: Curves, t: int, *, evaluations: float | None = 5.0, cost_s: float | None = None) -> Present:
    """A target of the curves, as it is before anything runs on it."""
    return Present(
        target=known.targets[t],
        is_allowed=known.observed[t],
        steps=known.steps[t],
        target_features={name: float(values[t]) for name, values in known.target_features.items()},
        pair_features={name: values[t] for name, values in known.pair_features.items()},
        allowance=Allowance(evaluations=evaluations, cost_s=cost_s),
    )
