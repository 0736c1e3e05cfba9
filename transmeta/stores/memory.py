"""The experience store in memory: for tests, and for searches that nobody will resume."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self, final

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.trial import TrialId, TrialSpec
from transmeta.stores.checks import check_label, fault_of, payload_hash, payload_of, storable_payload
from transmeta.stores.contract import Snapshot, StoreStats, digest_of, gives_way, stats_of


@final
class MemoryExperienceStore:
    """Keeps experience as long as the object lives, and refuses what the other stores refuse."""

    def __init__(self) -> None:
        self._rows: dict[TrialId, Experience] = {}
        self._hashes: dict[str, str] = {}
        self._proposals: dict[tuple[str, int], tuple[TrialSpec, ...]] = {}
        self._features: dict[str, MetaFeatures] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Does nothing."""

    def append(self, experience: Sequence[Experience]) -> int:
        """Keeps all of `experience`, and returns how many rows are new or replaced; see `RunStore`.

        Raises:
            InputError: if a row could not be stored elsewhere, such as for a number that is not finite.
        """
        payloads = [storable_payload(item) for item in experience]
        changed = 0
        for item, payload in zip(experience, payloads, strict=True):
            trial = item.result.spec.id
            known = self._rows.get(trial)
            if known is None or gives_way(known.result, to=item.result):
                self._rows[trial] = item
                self._hashes[trial] = payload_hash(payload)
                changed += 1
        return changed

    def read(self, *, targets: Sequence[str] | None = None) -> Sequence[Experience]:
        """Returns the rows of `targets` (task ids; None for all), ordered by trial id."""
        return self.snapshot().read(targets=targets)

    def get(self, ids: Iterable[TrialId]) -> Mapping[TrialId, Experience]:
        """Returns those of `ids` that are stored."""
        return {trial: self._rows[trial] for trial in ids if trial in self._rows}

    def snapshot(self) -> Snapshot:
        """Returns all rows as they are now."""
        rows = tuple(self._rows[trial] for trial in sorted(self._rows))
        return Snapshot(rows=rows, digest=digest_of(self._hashes))

    def count(self) -> int:
        """Returns the number of stored trials."""
        return len(self._rows)

    def stats(self) -> StoreStats:
        """Returns how much is stored."""
        return stats_of(self._rows.values())

    def save_proposals(self, run: str, round: int, specs: Sequence[TrialSpec]) -> Sequence[TrialSpec]:
        """Keeps the proposals of one round unless it is known, and returns those that count.

        Raises:
            InputError: if they could not be stored elsewhere.
        """
        check_label(run, what="the run's name")
        for spec in specs:
            payload_of(spec, what=f"trial {spec.id}")
        return self._proposals.setdefault((run, round), tuple(specs))

    def proposals(self, run: str, round: int) -> Sequence[TrialSpec] | None:
        """Returns the proposals of one round in their order; None if it is not stored."""
        return self._proposals.get((run, round))

    def save_features(self, features: MetaFeatures) -> None:
        """Keeps `features` in place of what was stored for the same target.

        Raises:
            InputError: if they could not be stored elsewhere.
        """
        payload_of(features, what=f"the features of {features.target_id}")
        self._features[features.target_id] = features

    def features(self, target_id: str) -> MetaFeatures | None:
        """Returns what was saved last for the target; None if nothing was."""
        return self._features.get(target_id)

    def verify(self) -> Sequence[str]:
        """Returns the rows that cannot be true, one sentence for each."""
        faults = ((trial, fault_of(self._rows[trial])) for trial in sorted(self._rows))
        return tuple(f"trial {trial}: {fault}" for trial, fault in faults if fault is not None)
