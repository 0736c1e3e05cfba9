"""The adaptive policy that ships with the package is what its card says."""

import json
from pathlib import Path

import pytest

import transmeta.policies
from transmeta.core.experience import MetaFeatures
from transmeta.policies.adaptive.policy import AdaptivePolicy
from transmeta.policies.files import POLICY_FILE, load_policy

from ..cases import CountingProposer

PACKAGED = Path(transmeta.policies.__file__).parent / "packaged"
CARD = PACKAGED / "card.json"

pytestmark = pytest.mark.skipif(
    not ((PACKAGED / POLICY_FILE).is_file() and CARD.is_file()), reason="no policy with a card is packaged"
)


@pytest.fixture(scope="module")
def policy() -> AdaptivePolicy:
    read = load_policy(PACKAGED, proposer=CountingProposer())
    assert isinstance(read, AdaptivePolicy)
    return read


def test_the_card_says_what_it_knows(policy: AdaptivePolicy) -> None:
    card = json.loads(CARD.read_text())

    assert (card["targets"], card["arms"]) == (len(policy.table.targets), len(policy.table.arms))
    assert card["data_sets"] == len(policy.table.datasets)
    assert policy.left_out is not None
    assert card["left_out_mean"] == pytest.approx(
        sum(policy.left_out.regret.values()) / len(policy.left_out.regret), abs=1e-3
    )


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in PACKAGED.iterdir()) <= 5_000_000


def test_it_has_less_regret_on_left_out_domains_than_the_portfolio(policy: AdaptivePolicy) -> None:
    assert policy.left_out is not None
    assert policy.left_out.gain > 0


def test_it_predicts_score_and_cost_for_what_it_suggests(policy: AdaptivePolicy) -> None:
    target = policy.table.targets[0]
    features = MetaFeatures(target_id="new", target=target.features, pairs=target.pairs)

    for item in policy.suggest(features, (), count=5, seed=0):
        assert item.predicted_score is not None
        assert item.low is not None
        assert item.high is not None
        assert item.low <= item.predicted_score <= item.high
        assert item.predicted_cost_s is not None
        assert item.evidence
