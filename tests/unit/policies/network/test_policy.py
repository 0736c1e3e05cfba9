import dataclasses
import math

import numpy as np
import pytest

from transmeta.errors import UnsafeFileError
from transmeta.policies.files import POLICY_FILE, load_policy, save_policy
from transmeta.policies.network.learner import NetworkLearner
from transmeta.policies.network.policy import loss_on
from transmeta.policies.network.rows import PORTFOLIO, Knobs
from transmeta.policies.network.training import TrainingPlan
from transmeta.policies.network.weights import from_bytes, to_bytes
from transmeta.policies.portfolio import PortfolioPolicy
from transmeta.policies.table import RegretTable

from ..cases import meta_features, result, task
from .cases import ARMS, EVEN_FEATURES, ODD_FEATURES, PROPOSER, ROWS

PLAN = TrainingPlan(members=3, fold_members=1, hidden=8, steps=60)
LEARNER = NetworkLearner(proposer=PROPOSER, seed=1, plan=PLAN)
LEFT_OUT = {"t12", "t13", "t14", "t15"}
TRAINING = [row for row in ROWS if row.result.spec.target.dataset not in LEFT_OUT]
POLICY = LEARNER.update(LEARNER.initial(), TRAINING)
NETWORK_ALONE = dataclasses.replace(POLICY, knobs=Knobs(blend=1.0, tau=math.inf, beta=0.0))
ALL = RegretTable.from_experience(ROWS)
SOURCES = ["latin", "icons"]


def test_the_loss_falls_on_targets_that_were_left_out():
    rows = ALL.rows_of(LEFT_OUT)

    before = loss_on(LEARNER.untrained(TRAINING), table=ALL, rows=rows)
    after = loss_on(POLICY, table=ALL, rows=rows)
    assert after < 0.5 * before


def test_the_progress_is_that_of_left_out_known_targets():
    assert POLICY.progress is not None
    assert POLICY.progress.loss_final < 0.5 * POLICY.progress.loss_initial


def test_without_the_network_and_without_nearness_it_is_exactly_the_portfolio():
    as_portfolio = dataclasses.replace(POLICY, knobs=PORTFOLIO)
    portfolio = PortfolioPolicy(table=POLICY.table, proposer=PROPOSER)
    histories = [(), [result(task("new"), ARMS["latin-0.1"], 0.5), result(task("new"), ARMS["icons-0.1"], 0.7)]]

    for history in histories:
        for features in (meta_features(SOURCES, **EVEN_FEATURES), meta_features(SOURCES, **ODD_FEATURES)):
            ours = as_portfolio.suggest(features, history, count=9, seed=5)
            assert ours == portfolio.suggest(features, history, count=9, seed=5)


def test_the_network_alone_picks_the_source_that_suits_the_target():
    even = NETWORK_ALONE.suggest(meta_features(SOURCES, **EVEN_FEATURES), (), count=1, seed=0)[0]
    odd = NETWORK_ALONE.suggest(meta_features(SOURCES, **ODD_FEATURES), (), count=1, seed=0)[0]

    assert even.arm == ARMS["latin-0.1"]
    assert odd.arm == ARMS["icons-0.1"]


def test_the_chosen_knobs_beat_the_portfolio_where_targets_differ():
    assert POLICY.knobs != PORTFOLIO
    assert POLICY.suggest(meta_features(SOURCES, **ODD_FEATURES), (), count=1, seed=0)[0].arm == ARMS["icons-0.1"]


def test_learning_twice_gives_the_same_policy_whatever_the_order_of_rows():
    again = LEARNER.update(POLICY, TRAINING[::-1])

    np.testing.assert_array_equal(again.ensemble.output_weights, POLICY.ensemble.output_weights)
    assert again.knobs == POLICY.knobs


def test_the_weights_of_evidence_are_what_the_networks_leave():
    half = dataclasses.replace(POLICY, knobs=Knobs(blend=0.75, tau=math.inf, beta=0.0))

    item = half.suggest(meta_features(SOURCES, **EVEN_FEATURES), (), count=1, seed=0)[0]
    assert sum(evidence.weight for evidence in item.evidence) <= 0.25 + 1e-9


def test_predictions_have_score_interval_and_cost():
    item = POLICY.suggest(meta_features(SOURCES, **EVEN_FEATURES), (), count=1, seed=0)[0]

    assert item.low <= item.predicted_score <= item.high
    assert item.predicted_cost_s == pytest.approx(1.0)


def test_the_deviation_that_the_networks_expect_widens_the_interval():
    unsure = POLICY.ensemble.output_bias.copy()
    unsure[:, :, 2] += 5.0
    policy = dataclasses.replace(
        NETWORK_ALONE, ensemble=dataclasses.replace(NETWORK_ALONE.ensemble, output_bias=unsure)
    )

    features = meta_features(SOURCES, **EVEN_FEATURES)
    sure, doubtful = (item.suggest(features, (), count=1, seed=0)[0] for item in (NETWORK_ALONE, policy))
    assert sure.arm == doubtful.arm
    assert doubtful.high - doubtful.low > sure.high - sure.low


def test_the_initial_policy_draws_fresh_arms():
    suggestions = LEARNER.initial().suggest(meta_features(SOURCES), (), count=3, seed=0)

    assert len(suggestions) == 3
    assert all(item.predicted_score is None for item in suggestions)


def test_one_data_set_gives_the_portfolio():
    policy = LEARNER.update(LEARNER.initial(), [row for row in ROWS if row.result.spec.target.dataset == "t00"])

    assert policy.knobs == PORTFOLIO
    assert policy.progress is None


def test_two_data_sets_are_enough_to_train():
    rows = [row for row in ROWS if row.result.spec.target.dataset in {"t00", "t01"}]
    policy = LEARNER.update(LEARNER.initial(), rows)

    assert policy.progress is not None
    assert len(policy.suggest(meta_features(SOURCES, **EVEN_FEATURES), (), count=4, seed=0)) == 4


@pytest.mark.parametrize("policy", [POLICY, NETWORK_ALONE, LEARNER.initial()], ids=["chosen", "alone", "initial"])
def test_a_network_suggests_the_same_after_it_was_saved_and_read(policy, tmp_path):
    save_policy(policy, tmp_path)
    read = load_policy(tmp_path, proposer=PROPOSER)

    features = meta_features(SOURCES, **ODD_FEATURES)
    history = [result(task("new"), ARMS["latin-0.1"], 0.5), result(task("new"), ARMS["icons-0.1"], 0.7)]
    assert read.suggest(features, history, count=6, seed=2) == policy.suggest(features, history, count=6, seed=2)


def test_saving_a_new_network_removes_the_old_weights(tmp_path):
    save_policy(LEARNER.initial(), tmp_path)
    save_policy(POLICY, tmp_path)

    assert len(list(tmp_path.iterdir())) == 2


def test_weights_that_were_changed_are_refused(tmp_path):
    save_policy(POLICY, tmp_path)
    (path,) = tmp_path.glob("weights-*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(UnsafeFileError, match="SHA-256"):
        load_policy(tmp_path, proposer=PROPOSER)


def test_missing_weights_are_refused(tmp_path):
    save_policy(POLICY, tmp_path)
    (path,) = tmp_path.glob("weights-*.safetensors")
    path.unlink()

    with pytest.raises(UnsafeFileError, match="missing"):
        load_policy(tmp_path, proposer=PROPOSER)


def test_a_network_file_without_its_weights_entry_is_refused(tmp_path):
    save_policy(POLICY, tmp_path)
    text = (tmp_path / POLICY_FILE).read_text()
    start = text.index('"weights_sha256":"') + len('"weights_sha256":')
    (tmp_path / POLICY_FILE).write_text(text[:start] + "null" + text[start + 66 :])

    with pytest.raises(UnsafeFileError, match="without weights"):
        load_policy(tmp_path, proposer=PROPOSER)


def test_weights_of_another_shape_are_refused():
    data = to_bytes(POLICY.ensemble)

    with pytest.raises(UnsafeFileError, match="expected"):
        from_bytes(data, inputs=POLICY.encoder.width + 1)


def test_weights_that_are_not_finite_are_refused():
    broken = POLICY.ensemble.output_bias.copy()
    broken[0] = np.nan

    with pytest.raises(UnsafeFileError, match="not finite"):
        from_bytes(to_bytes(dataclasses.replace(POLICY.ensemble, output_bias=broken)), inputs=POLICY.encoder.width)


def test_what_is_not_safetensors_is_refused():
    with pytest.raises(UnsafeFileError, match="not safetensors"):
        from_bytes(b"\x80\x04junk", inputs=3)
