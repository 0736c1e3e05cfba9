"""The norms give torch's numbers, and neither crash nor depend on the batch."""

import subprocess
import sys

import torch
from torch import nn

from transmeta.models.norm import SafeGroupNorm, StoredNorm

BEHIND_A_FROZEN_CONVOLUTION = """
import torch
from torch import nn
from transmeta.models.norm import SafeGroupNorm

norm = SafeGroupNorm(8, 24)
frozen = nn.Conv2d(3, 24, 3, padding=1, bias=False).requires_grad_(False)
model = nn.Sequential(frozen, norm, nn.ReLU()).to(memory_format=torch.channels_last)
x = torch.ones(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
for _ in range(3):
    model(x).square().mean().backward()
assert norm.weight.grad.any() and frozen.weight.grad is None
print("survived")
"""


def test_a_group_norm_behind_a_frozen_convolution_survives_channels_last():
    # torch's own ends the process here, so the process must not be this one
    run = subprocess.run(
        [sys.executable, "-c", BEHIND_A_FROZEN_CONVOLUTION], capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stdout) == (0, "survived\n"), run.stderr[-500:]


def test_the_safe_group_norm_gives_the_numbers_and_gradients_of_torch():
    x = torch.randn(4, 24, 8, 8, generator=torch.Generator().manual_seed(0))
    ours, torchs = SafeGroupNorm(8, 24), nn.GroupNorm(8, 24)

    for norm in (ours, torchs):
        norm(x).pow(3).sum().backward()

    assert ours(x).equal(torchs(x))
    assert ours.weight.grad is not None
    assert torchs.weight.grad is not None
    assert torch.allclose(ours.weight.grad, torchs.weight.grad)


def test_the_stored_norm_is_torchs_batch_norm_in_evaluation_at_all_times():
    x, ours, torchs = with_statistics()

    assert ours.train()(x).equal(torchs.eval()(x))


def test_the_statistics_of_the_stored_norm_stay_in_training():
    x, ours, _ = with_statistics()
    before = {name: value.clone() for name, value in ours.state_dict().items()}

    ours.train()(x).sum().backward()

    assert all(value.equal(before[name]) for name, value in ours.state_dict().items())
    assert ours.weight.grad is not None


def with_statistics() -> tuple[torch.Tensor, StoredNorm, nn.BatchNorm2d]:
    """Returns an input and our and torch's norm with the same statistics, which are not the input's."""
    generator = torch.Generator().manual_seed(0)
    ours, torchs = StoredNorm(6, eps=1e-3), nn.BatchNorm2d(6, eps=1e-3)
    statistics = {"running_mean": torch.rand(6, generator=generator), "running_var": torch.rand(6, generator=generator)}
    for norm in (ours, torchs):
        norm.load_state_dict(norm.state_dict() | statistics)
    return torch.randn(4, 6, 5, 5, generator=generator), ours, torchs
