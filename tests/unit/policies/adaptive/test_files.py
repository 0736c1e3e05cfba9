import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from transmeta.errors import UnsafeFileError
from transmeta.policies.adaptive.policy import AdaptivePolicy
from transmeta.policies.files import POLICY_FILE, load_policy, save_policy

from .live import ARMS, LEARNER, PROPOSER, policy, present, trial


@pytest.mark.parametrize("fit", [-0.8, 0.3])
def test_a_policy_suggests_the_same_after_it_was_saved_and_read(tmp_path: Path, fit: float) -> None:
    save_policy(policy(), tmp_path)

    read = load_policy(tmp_path, proposer=PROPOSER)

    history = [trial("new", ARMS[1], 0.55, cost_s=7.0)]
    assert isinstance(read, AdaptivePolicy)
    assert read.left_out == policy().left_out
    for known in ((), history):
        assert read.suggest(present(fit), known, count=9, seed=1) == policy().suggest(
            present(fit), known, count=9, seed=1
        )
    assert read.by_cost().suggest(present(fit), history, count=4, seed=0) == policy().by_cost().suggest(
        present(fit), history, count=4, seed=0
    )


def test_saving_what_was_read_gives_the_same_file(tmp_path: Path) -> None:
    save_policy(policy(), tmp_path / "a")
    save_policy(load_policy(tmp_path / "a", proposer=PROPOSER), tmp_path / "b")

    assert (tmp_path / "a" / POLICY_FILE).read_bytes() == (tmp_path / "b" / POLICY_FILE).read_bytes()


def test_the_policy_that_knows_nothing_can_be_saved(tmp_path: Path) -> None:
    save_policy(LEARNER.initial(), tmp_path)

    found = load_policy(tmp_path, proposer=PROPOSER).suggest(present(0.1), (), count=2, seed=0)
    assert len(found) == 2


def test_arrays_that_were_changed_are_refused(tmp_path: Path) -> None:
    save_policy(policy(), tmp_path)
    (arrays,) = tmp_path.glob("weights-*.safetensors")
    data = bytearray(arrays.read_bytes())
    data[-1] ^= 1
    arrays.write_bytes(bytes(data))

    with pytest.raises(UnsafeFileError, match="SHA-256"):
        load_policy(tmp_path, proposer=PROPOSER)


def _forged(folder: Path, **changed: np.ndarray) -> None:
    """Writes the policy with other arrays, and the digest that they have."""
    save_policy(policy(), folder)
    (path,) = folder.glob("weights-*.safetensors")
    data = save({**load(path.read_bytes()), **changed})
    digest = hashlib.sha256(data).hexdigest()
    (folder / f"weights-{digest[:20]}.safetensors").write_bytes(data)
    record = json.loads((folder / POLICY_FILE).read_text())
    (folder / POLICY_FILE).write_text(json.dumps({**record, "weights_sha256": digest}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rungs": np.zeros((1, 2, 3), dtype=np.float32)}, "is expected"),
        ({"utility": np.zeros((8, 6), dtype=np.float64)}, "float32"),
        ({"rungs": np.full((8, 6, 6), 7, dtype=np.float32)}, "outside 0 to 3"),
        ({"cost_s": np.full((8, 6), np.inf, dtype=np.float32)}, "not finite"),
        ({"more": np.zeros(1, dtype=np.float32)}, "are expected"),
        ({"network.input_bias": np.zeros((2, 1, 9), dtype=np.float32)}, "is expected"),
    ],
)
def test_arrays_that_do_not_belong_are_refused(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    _forged(tmp_path, **changed)

    with pytest.raises(UnsafeFileError, match=message):
        load_policy(tmp_path, proposer=PROPOSER)


def test_using_a_policy_does_not_import_torch() -> None:
    code = "import sys, transmeta.policies.adaptive.policy, transmeta.policies.files; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
