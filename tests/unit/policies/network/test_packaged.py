"""The policy that ships with the package is read by today's code as it was learned."""

from pathlib import Path

import numpy as np
import pytest

import transmeta.policies
from transmeta.policies.files import POLICY_FILE, load_policy
from transmeta.policies.network.policy import NetworkPolicy, features_of, loss_on

from ..cases import CountingProposer

PACKAGED = Path(transmeta.policies.__file__).parent / "packaged"

pytestmark = pytest.mark.skipif(not (PACKAGED / POLICY_FILE).is_file(), reason="no policy is packaged")


@pytest.fixture(scope="module")
def policy() -> NetworkPolicy:
    read = load_policy(PACKAGED, proposer=CountingProposer())
    if not isinstance(read, NetworkPolicy):
        pytest.skip("the packaged policy is not a network")
    return read


def test_its_networks_predict_the_regrets_that_they_learned(policy):
    table = policy.table
    pairs = [
        (policy.ensemble.regret(policy.encoder.encode(features_of(target), table.arms)).mean(axis=0), regret, is_tried)
        for target, regret, is_tried in zip(table.targets, table.regret, table.is_tried, strict=True)
    ]

    fits = [np.corrcoef(predicted[tried], regret[tried])[0, 1] for predicted, regret, tried in pairs]
    assert np.mean(fits) > 0.85


def test_it_chooses_better_on_what_it_learned_than_on_what_was_left_out(policy):
    assert policy.progress is not None
    assert loss_on(policy, table=policy.table, rows=range(len(policy.table.targets))) < policy.progress.loss_final
