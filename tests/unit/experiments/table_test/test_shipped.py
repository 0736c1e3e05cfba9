"""The meta-dataset that is installed with transmeta."""

from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq

from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.shipped import shipped_meta_dataset
from transmeta.stores.table import read_table


def test_it_holds_what_its_card_says() -> None:
    rows = pq.read_table(shipped_meta_dataset(), columns=["trial", "target", "domain", "config", "seed"]).to_pandas()
    trials = rows.drop_duplicates("trial")

    assert len(trials) == 17_181
    assert trials["target"].nunique() == 117
    assert trials["domain"].nunique() == 8
    assert trials[trials["seed"] == 0].groupby("target")["config"].nunique().min() >= 120
    assert (trials.groupby(["target", "config"])["seed"].nunique() == 3).groupby("target").sum().min() >= 8


def test_no_source_is_offered_to_a_target_that_it_has_seen() -> None:
    table = read_table(shipped_meta_dataset())
    seen = defaultdict(set)
    assert table.sources is not None
    for t, c in np.argwhere(table.observed):
        seen[table.families[t]].add(table.sources[c].partition("-")[0])

    for group in range(6):
        assert "efficientnet" not in seen[f"tinyimagenet-g0{group}"]
    assert "resnet20" not in seen["cifar10"]
    assert "digits" not in seen["digits"]
    assert "animals" not in seen["animals"]


def test_the_harness_takes_all_of_it() -> None:
    ground = Ground(read_table(shipped_meta_dataset()))

    assert len(ground.targets) == 117
    assert not ground.dropped
