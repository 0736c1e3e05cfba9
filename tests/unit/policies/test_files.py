import json
import math
import subprocess
import sys

import pytest

from transmeta.errors import ConflictError, InputError, UnknownNameError, UnsafeFileError
from transmeta.policies.files import POLICY_FILE, load_policy, save_policy
from transmeta.policies.fixed import FixedPolicy
from transmeta.policies.mean_rank import MeanRankPolicy
from transmeta.policies.nearest_task import NearestTaskPolicy
from transmeta.policies.portfolio import PortfolioPolicy
from transmeta.policies.random import RandomPolicy
from transmeta.policies.table import RegretTable

from .cases import CountingProposer, arm, experience, meta_features

ARMS = {"a": arm("latin", rate=0.1), "b": arm("icons", steps=3, bias=True, mode="x")}
TABLE = RegretTable.from_experience(experience({"grek": {"a": 0.9, "b": 0.7}, "armn": {"a": 0.5, "b": 0.6}}, arms=ARMS))
PROPOSER = CountingProposer()
FEATURES = meta_features(["latin", "icons"])
POLICIES = [
    RandomPolicy(proposer=PROPOSER),
    FixedPolicy(strategy="linear_probe", table=TABLE, proposer=PROPOSER),
    MeanRankPolicy(table=TABLE, proposer=PROPOSER),
    PortfolioPolicy(table=TABLE, proposer=PROPOSER),
    NearestTaskPolicy(table=TABLE, proposer=PROPOSER, tau=math.inf, beta=2.0),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_suggests_the_same_after_it_was_saved_and_read(policy, tmp_path):
    save_policy(policy, tmp_path / "policy")

    read = load_policy(tmp_path / "policy", proposer=PROPOSER)
    assert type(read) is type(policy)
    assert read.suggest(FEATURES, (), count=6, seed=2) == policy.suggest(FEATURES, (), count=6, seed=2)


def test_saving_again_replaces_the_policy(tmp_path):
    save_policy(POLICIES[2], tmp_path)
    save_policy(POLICIES[3], tmp_path)

    assert load_policy(tmp_path, proposer=PROPOSER).name == "portfolio"
    assert [path.name for path in tmp_path.iterdir()] == [POLICY_FILE]


def test_a_folder_without_a_policy_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no policy\.json"):
        load_policy(tmp_path, proposer=PROPOSER)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": "1", "kind": "random", "body": {}}'])
def test_a_corrupt_file_is_refused(text, tmp_path):
    (tmp_path / POLICY_FILE).write_text(text)

    with pytest.raises(UnsafeFileError):
        load_policy(tmp_path, proposer=PROPOSER)


def test_a_newer_schema_is_refused(tmp_path):
    (tmp_path / POLICY_FILE).write_text('{"schema": 2, "kind": "random", "body": {}}')

    with pytest.raises(ConflictError, match="newer"):
        load_policy(tmp_path, proposer=PROPOSER)


def test_an_unknown_kind_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / POLICY_FILE).write_text('{"schema": 1, "kind": "portfolioo", "body": {}}')

    with pytest.raises(UnknownNameError, match="did you mean 'portfolio'"):
        load_policy(tmp_path, proposer=PROPOSER)


def test_a_table_that_was_tampered_with_is_refused(tmp_path):
    save_policy(POLICIES[3], tmp_path)
    record = json.loads((tmp_path / POLICY_FILE).read_text())
    record["body"]["table"]["cells"][0][1] = 99
    (tmp_path / POLICY_FILE).write_text(json.dumps(record))

    with pytest.raises(UnsafeFileError, match="outside"):
        load_policy(tmp_path, proposer=PROPOSER)


def test_a_foreign_policy_cannot_be_saved(tmp_path):
    class Foreign:
        name = "foreign"

        def suggest(self, features, history, *, count, seed):
            return ()

    with pytest.raises(InputError, match="cannot be saved"):
        save_policy(Foreign(), tmp_path)


def test_reading_policies_does_not_import_torch():
    code = "import sys, transmeta.policies.files; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
