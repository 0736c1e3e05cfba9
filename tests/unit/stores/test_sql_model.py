"""The stores against a dictionary: any sequence of appends, re-runs, proposals and reopenings."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from transmeta.core.experience import MetaFeatures
from transmeta.core.trial import TrialStatus
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.store_cases import example_experience, example_spec

# The rule, written out: which stored status gives way to which new one.
GIVES_WAY = {
    TrialStatus.CRASHED: {TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.COMPLETED},
    TrialStatus.STOPPED: {TrialStatus.FAILED, TrialStatus.COMPLETED},
    TrialStatus.FAILED: set(),
    TrialStatus.COMPLETED: set(),
}


def was_stopped_later(row, known):
    is_stopped = row.result.status is known.result.status is TrialStatus.STOPPED
    return is_stopped and len(row.result.curve) > len(known.result.curve)


ROWS = st.builds(
    lambda seed, status, epochs, reason: example_experience(
        example_spec(seed=seed), status=status, epochs=epochs, reason=reason
    ),
    seed=st.integers(0, 4),
    status=st.sampled_from(TrialStatus),
    epochs=st.integers(1, 2),
    reason=st.text(max_size=8),
)


class StoresAgreeWithADictionary(RuleBasedStateMachine):
    @initialize()
    def make(self):
        self.folder = Path(tempfile.mkdtemp())
        self.sql = SqlExperienceStore.open(str(self.folder / "experience.db"))
        self.memory = MemoryExperienceStore()
        self.rows = {}
        self.rounds = {}
        self.features = {}

    @rule(batch=st.lists(ROWS, max_size=5))
    def append(self, batch):
        expected = 0
        for row in batch:
            known = self.rows.get(row.id)
            if known is None or row.result.status in GIVES_WAY[known.result.status] or was_stopped_later(row, known):
                self.rows[row.id] = row
                expected += 1

        assert self.sql.append(batch) == expected
        assert self.memory.append(batch) == expected

    @rule(round=st.integers(0, 2), seeds=st.lists(st.integers(0, 9), max_size=3, unique=True))
    def save_proposals(self, round, seeds):
        specs = self.rounds.setdefault(round, tuple(example_spec(seed=seed) for seed in seeds))

        for store in (self.sql, self.memory):
            assert store.save_proposals("run", round, [example_spec(seed=seed) for seed in seeds]) == specs

    @rule(values=st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False, allow_infinity=False)))
    def save_features(self, values):
        features = MetaFeatures(target_id="t", target=values, pairs=dict.fromkeys(values, values))
        self.features["t"] = features

        for store in (self.sql, self.memory):
            store.save_features(features)

    @rule()
    def reopen(self):
        self.sql.close()
        self.sql = SqlExperienceStore.open(str(self.folder / "experience.db"))

    @invariant()
    def holds_what_the_dictionary_holds(self):
        expected = [self.rows[trial] for trial in sorted(self.rows)]
        assert list(self.sql.read()) == list(self.memory.read()) == expected
        assert self.sql.snapshot() == self.memory.snapshot()
        assert self.sql.verify() == ()
        for round in range(3):
            assert self.sql.proposals("run", round) == self.memory.proposals("run", round) == self.rounds.get(round)
        assert self.sql.features("t") == self.memory.features("t") == self.features.get("t")

    def teardown(self):
        self.sql.close()
        shutil.rmtree(self.folder)


TestStoresAgreeWithADictionary = StoresAgreeWithADictionary.TestCase
TestStoresAgreeWithADictionary.settings = settings(
    max_examples=10, stateful_step_count=8, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
