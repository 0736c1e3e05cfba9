"""An optimiser of torch that does not load torch's compiler."""

import inspect
from collections.abc import Callable
from typing import Any, final

import torch


@final
class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, whose methods are called without what keeps them from being compiled.

    Nothing is compiled here, and torch loads its compiler at an optimiser's first use to tell it so: more than a CPU
    second of every process that trains.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with options of their own."""
        inspect.unwrap(torch.optim.AdamW.add_param_group)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates the parameters; a `closure` is not called."""
        assert closure is None
        inspect.unwrap(torch.optim.AdamW.step)(self)
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes the gradients, or sets them to 0."""
        inspect.unwrap(torch.optim.AdamW.zero_grad)(self, set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Returns all that `load_state_dict` needs."""
        state: dict[str, Any] = inspect.unwrap(torch.optim.AdamW.state_dict)(self)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from another optimiser's state."""
        inspect.unwrap(torch.optim.AdamW.load_state_dict)(self, state_dict)
