"""An optimiser of torch that does not load torch's compiler."""

import inspect
from typing import final

import torch


@final
class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, with its methods as they are without what keeps them from being compiled.

    Nothing is compiled here, and torch loads its compiler at an optimiser's first use to tell it so: more than a CPU
    second of every process that trains.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
