"""The optimiser, and what it spares a process."""

import subprocess
import sys

import torch

from transmeta.training.optimisers import AdamW

PROGRAM = """
import sys

import torch

from transmeta.training.optimisers import AdamW

weight = torch.zeros(3, requires_grad=True)
optimiser = AdamW([weight], lr=0.1, fused=True)
optimiser.zero_grad()
weight.sum().backward()
optimiser.step()
optimiser.load_state_dict(optimiser.state_dict())
assert weight.abs().min() > 0
assert "torch._dynamo" not in sys.modules
"""


def _train(kind: type[torch.optim.AdamW], *, fused: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(2)]
    groups = [{"params": [weight], "weight_decay": 0.1 * i} for i, weight in enumerate(weights)]
    optimiser = kind(groups, lr=0.1, fused=fused)
    for at in range(6):
        if at == 3:  # a copy goes on
            copy = kind([{"params": [weight], "weight_decay": 0.0} for weight in weights], lr=0.5, fused=fused)
            copy.load_state_dict(optimiser.state_dict())
            optimiser = copy
        optimiser.zero_grad()
        sum(((weight - 1) ** 2).sum() for weight in weights).backward()
        optimiser.step()
    return torch.cat([weight.detach() for weight in weights])


def test_it_steps_as_that_of_torch_does_to_the_last_bit() -> None:
    for fused in (False, True):
        assert torch.equal(_train(AdamW, fused=fused), _train(torch.optim.AdamW, fused=fused))


def test_the_compiler_is_not_loaded() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
