"""What every store promises, and the small values that stores hand out."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, final

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.protocols import ExperienceStore, ProposalLog
from transmeta.core.trial import TrialId, TrialResult, TrialStatus


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """How much a store holds.

    Attributes:
        trials: status → number of trials.
        targets: task id → number of trials.
        sources: model card id → number of trials.
        strategies: name → number of trials.
        cost_s: CPU seconds of all trials together.
    """

    trials: Mapping[str, int]
    targets: Mapping[str, int]
    sources: Mapping[str, int]
    strategies: Mapping[str, int]
    cost_s: float

    @property
    def count(self) -> int:
        """Number of trials."""
        return sum(self.trials.values())


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a store held at one moment; it never changes.

    Attributes:
        rows: ordered by trial id.
        digest: equal for equal rows, whichever store they came from.
    """

    rows: tuple[Experience, ...]
    digest: str

    def read(self, *, targets: Sequence[str] | None = None) -> Sequence[Experience]:
        """Returns the rows of `targets` (task ids; None for all), ordered by trial id."""
        if targets is None:
            return self.rows
        wanted = frozenset(targets)
        return tuple(row for row in self.rows if row.result.spec.target.id in wanted)

    def get(self, ids: Iterable[TrialId]) -> Mapping[TrialId, Experience]:
        """Returns those of `ids` that it holds."""
        wanted = frozenset(ids)
        return {row.result.spec.id: row for row in self.rows if row.result.spec.id in wanted}

    def count(self) -> int:
        """Returns the number of rows."""
        return len(self.rows)

    def stats(self) -> StoreStats:
        """Returns how much it holds."""
        return stats_of(self.rows)


class RunStore(ExperienceStore, ProposalLog, Protocol):
    """An experience store that also remembers what a run proposed and what is known of its targets.

    Used from one thread; for another thread, open another one.
    """

    def get(self, ids: Iterable[TrialId]) -> Mapping[TrialId, Experience]:
        """Returns those of `ids` that are stored."""
        ...

    def count(self) -> int:
        """Returns the number of stored trials."""
        ...

    def stats(self) -> StoreStats:
        """Returns how much is stored."""
        ...

    def snapshot(self) -> Snapshot:
        """Returns all rows as they are now."""
        ...

    def save_features(self, features: MetaFeatures) -> None:
        """Makes `features` durable in place of what was stored for the same target."""
        ...

    def features(self, target_id: str) -> MetaFeatures | None:
        """Returns what was saved last for the target; None if nothing was."""
        ...

    def verify(self) -> Sequence[str]:
        """Returns what is wrong with the stored data, one sentence for each fault; empty if nothing is."""
        ...

    def close(self) -> None:
        """Releases files, locks and connections; harmless if repeated."""
        ...


def precedence(status: TrialStatus) -> int:
    """Returns how much a row of this status is worth: a known trial gives way to one that is worth more.

    A crash says nothing, a stopped trial says something, and how a trial ended by itself is final.
    """
    if status is TrialStatus.CRASHED:
        return 0
    return 1 if status is TrialStatus.STOPPED else 2


def gives_way(known: TrialResult, *, to: TrialResult) -> bool:
    """Returns whether a stored result is replaced by another one of the same trial.

    It is if the other one is worth more; of two that were stopped, the longer curve is: it holds the shorter one, which
    would otherwise be paid for again by each run that goes on longer.
    """
    before, after = precedence(known.status), precedence(to.status)
    is_longer = to.status is known.status is TrialStatus.STOPPED and len(to.curve) > len(known.curve)
    return before < after or is_longer


def stats_of(rows: Iterable[Experience]) -> StoreStats:
    """Returns how much `rows` are."""
    rows = tuple(rows)
    specs = [row.result.spec for row in rows]
    return StoreStats(
        trials=_counted(row.result.status.value for row in rows),
        targets=_counted(spec.target.id for spec in specs),
        sources=_counted(spec.pair.source for spec in specs),
        strategies=_counted(spec.strategy.name for spec in specs),
        cost_s=sum(row.result.cost_s for row in rows),
    )


def digest_of(payload_hashes: Mapping[str, str]) -> str:
    """Returns the digest of a snapshot.

    Args:
        payload_hashes: trial id → SHA-256 of the row's canonical JSON.
    """
    lines = "".join(f"{trial}:{payload_hashes[trial]}\n" for trial in sorted(payload_hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def _counted(names: Iterable[str]) -> Mapping[str, int]:
    return dict(sorted(Counter(names).items()))
