"""Trains the policy that ships with transmeta: `python scripts/train_packaged_policy.py`.

Learns from the meta-dataset of the package, or from other trials: `--table FILE` in the same format, `--export FILE`
as `transmeta experience export` writes it, or `--store URL`. Writes the policy, with its card beside it, into the
package or the folder `--out`. Takes about a minute.
"""

import argparse
import dataclasses
import hashlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from transmeta.core import codec
from transmeta.core.space import Proposer
from transmeta.core.trial import Arm
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.shipped import shipped_meta_dataset
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.adaptive.merging import aligned
from transmeta.policies.adaptive.policy import AdaptivePolicy
from transmeta.policies.adaptive.protocol import Curves
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.files import load_policy, save_policy
from transmeta.policies.table import is_scratch
from transmeta.stores.parquet import import_experience, read_table
from transmeta.stores.sql import SqlExperienceStore
from transmeta.training.files import write_atomically
from transmeta.workspace import PACKAGED_POLICY, code_version

MOST_BYTES: Final = 5_000_000


class NoFreshArms:
    """Proposes nothing: what draws fresh arms is not part of a policy's files."""

    def propose(self, *, sources: Sequence[str], count: int, seed: int) -> Sequence[Arm]:
        """Returns nothing."""
        return ()


PROPOSER: Final[Proposer] = NoFreshArms()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the policy was made of, and how good it is where it had not been taught.

    Attributes:
        trials: seeds of an arm on a target count once where they come averaged, from a table.
        data_sha256: of the file that it was learned from; None for a store.
        left_out: domain → anytime regret over ten full runs, each domain left out of learning, with that of the greedy
            regret portfolio in the same place; data sets count alike.
        interval_width: by how much intervals were widened so that 90 % of them hold on left-out domains.
    """

    policy: str
    data: str
    data_sha256: str | None
    targets: int
    data_sets: int
    domains: tuple[str, ...]
    arms: int
    sources: tuple[str, ...]
    trials: int
    knobs: Mapping[str, object]
    left_out: Mapping[str, Mapping[str, float]]
    left_out_mean: float
    portfolio_mean: float
    interval_width: float
    command: str
    code: str
    versions: Mapping[str, str]
    seed: int
    cpu_s: float
    size_bytes: int
    schema: int = 1


def main() -> None:
    """Learns, writes and tells."""
    options = _options()
    curves, data, digest, trials = _lessons(options)
    learner = AdaptiveLearner(proposer=PROPOSER, seed=options.seed)
    started_s = time.process_time()
    policy = learner.learn(learner.initial(), curves)
    cpu_s = round(time.process_time() - started_s, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_policy(policy, folder)
        _check(folder, policy)
        card = _card(policy, options=options, data=data, digest=digest, trials=trials, cpu_s=cpu_s, folder=folder)
        text = json.dumps(codec.to_json(card), indent=1, ensure_ascii=False)
        write_atomically(folder / "card.json", (text + "\n").encode())
        write_atomically(folder / "README.md", _readme(card).encode())
        for file in folder.iterdir():
            file.chmod(0o644)  # what is installed is for everybody
        shutil.rmtree(options.out, ignore_errors=True)
        shutil.copytree(folder, options.out)
    print(_readme(card))
    print(f"written: {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--table", type=Path, help="a Parquet table; by default the meta-dataset of the package")
    given.add_argument("--export", type=Path, help="a Parquet file with whole trials")
    given.add_argument("--store", help="a SQLite file or another store's URL")
    parser.add_argument("--out", type=Path, default=PACKAGED_POLICY, help="folder; what is in it is replaced")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _lessons(options: argparse.Namespace) -> tuple[Curves, str, str | None, int]:
    """Returns the curves, where they come from, the file's SHA-256, and how many trials they hold."""
    if options.store or options.export:
        if options.export:
            experience = import_experience(options.export)
        else:
            with SqlExperienceStore.open(options.store) as store:
                experience = tuple(store.read())
        digest = _sha256(options.export) if options.export else None
        return curves_of(experience), options.export.name if options.export else "a store", digest, len(experience)
    path = options.table or shipped_meta_dataset()
    ground = Ground(read_table(path))
    curves = ground.curves(ground.rows)
    if curves.sources is None or curves.strategies is None:
        raise SystemExit(f"{path}: no columns `source` and `strategy`, so there are no arms to learn")
    arms = sorted(_arms(curves), key=lambda arm: arm.key)
    return aligned(_with_keys(curves), arms), path.name, _sha256(path), int(curves.observed.sum())


def _arms(curves: Curves) -> Sequence[Arm]:
    assert curves.sources is not None
    assert curves.strategies is not None
    return [
        codec.from_json(Arm, {"source": source, "strategy": {"name": name, "params": codec.to_json(params)}})
        for source, name, params in zip(curves.sources, curves.strategies, curves.params, strict=True)
    ]


def _with_keys(curves: Curves) -> Curves:
    return dataclasses.replace(curves, configs=tuple(arm.key for arm in _arms(curves)))


def _check(folder: Path, policy: AdaptivePolicy) -> None:
    """Checks that the files hold the policy, and are small enough to ship."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > MOST_BYTES:
        raise SystemExit(f"the policy takes {size} bytes, more than {MOST_BYTES}; learn from fewer targets")
    read = load_policy(folder, proposer=PROPOSER)
    assert isinstance(read, AdaptivePolicy)
    assert read.left_out == policy.left_out
    assert np.array_equal(read.learned.rungs, policy.learned.rungs, equal_nan=True)


def _card(
    policy: AdaptivePolicy,
    *,
    options: argparse.Namespace,
    data: str,
    digest: str | None,
    trials: int,
    cpu_s: float,
    folder: Path,
) -> Card:
    table, left_out = policy.table, policy.left_out
    if left_out is None:
        raise SystemExit("fewer than three data sets: nothing can be left out, so there is nothing to tell; give more")
    domain_of = {target.dataset: target.domain for target in table.targets}
    domains = tuple(sorted(set(domain_of.values())))
    by_domain = {
        domain: {
            "adaptive": _mean([v for name, v in left_out.regret.items() if domain_of[name] == domain]),
            "greedy_portfolio": _mean([v for name, v in left_out.portfolio.items() if domain_of[name] == domain]),
        }
        for domain in domains
    }
    knobs = dataclasses.asdict(policy.learned.knobs)
    words = [f"--table {data}"] if options.table else []
    words += [f"--export {data}"] if options.export else []
    words += ["--store STORE"] if options.store else []
    words += [f"--seed {options.seed}"] if options.seed else []
    return Card(
        policy=policy.name,
        data=data,
        data_sha256=digest,
        targets=len(table.targets),
        data_sets=len(domain_of),
        domains=domains,
        arms=len(table.arms),
        sources=tuple(sorted({arm.source for arm in table.arms if not is_scratch(arm.source)})),
        trials=trials,
        knobs={name: value if np.all(np.isfinite(value)) else "infinite" for name, value in knobs.items()},
        left_out=by_domain,
        left_out_mean=_mean(list(left_out.regret.values())),
        portfolio_mean=_mean(list(left_out.portfolio.values())),
        interval_width=round(policy.learned.width, 4),
        command=" ".join(["python scripts/train_packaged_policy.py", *words]),
        code=code_version(),
        versions={"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        seed=options.seed,
        cpu_s=cpu_s,
        size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
    )


def _readme(card: Card) -> str:
    rows = [
        f"| {domain} | {figures['adaptive']:.3f} | {figures['greedy_portfolio']:.3f} |"
        for domain, figures in card.left_out.items()
    ]
    lines = [
        "# The packaged policy",
        "",
        f"The `{card.policy}` policy that `recommend` and `adapt` use before there is experience of one's own.",
        "",
        f"- Learned from {card.data}: {card.targets} targets of {card.data_sets} data sets in {len(card.domains)} "
        f"domains, {card.arms} arms over {len(card.sources)} sources and scratch, {card.trials} trials.",
        f"- Made by `{card.command}`, {card.cpu_s:.0f} CPU seconds; transmeta {card.code}, "
        + ", ".join(f"{name} {version}" for name, version in card.versions.items())
        + ".",
        f"- {card.size_bytes} bytes. Figures, checksums and knobs are in `card.json`.",
        "",
        "Anytime regret / (best − median) over ten full runs, with the domain left out of learning; data sets count",
        "alike:",
        "",
        "| domain | adaptive | greedy portfolio |",
        "| --- | --- | --- |",
        *rows,
        f"| mean | {card.left_out_mean:.3f} | {card.portfolio_mean:.3f} |",
        "",
        "Its settings are the same for every table; they were found on these domains.",
        "Sources that the policy names and an installation lacks are passed over. For sources that it does not know,",
        "its network predicts from features alone. Of targets unlike those above it knows little; its intervals say",
        "so. It is no evidence about the data sets or models that it was learned from.",
        "",
    ]
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if values else float("nan")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
