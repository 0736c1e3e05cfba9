"""Short trials on digits."""

from transmeta.core.task import ParamValue, Task, TaskPair
from transmeta.core.trial import Measurement, StrategySpec, TrialResult, TrialSpec
from transmeta.trials.environment import Environment
from transmeta.trials.run import TrialRun

SHORT: dict[str, dict[str, ParamValue]] = {
    "bias_only": {"epochs": 10},
    "from_scratch": {"epochs": 20},
    "full_finetune": {"epochs": 10},
    "l2_sp": {"epochs": 10},
    "linear_probe": {"epochs": 10},
    "lora": {"epochs": 10},
    "lp_ft": {"epochs": 5, "probe_epochs": 5},
    "partial_freeze": {"epochs": 10},
    "residual_adapter": {"epochs": 10},
    "ridge_probe": {"penalty": 1e-4},
    "side_tuning": {"epochs": 10},
    "surgical": {"epochs": 10},
}
"""Each strategy with as few epochs as its space allows."""


def spec_for(name: str, *, target: Task, source: str = "greek", seed: int = 0, **params: ParamValue) -> TrialSpec:
    """A trial of the strategy called `name`, short unless `params` say otherwise."""
    chosen = StrategySpec(name=name, params=SHORT[name] | params)
    source = "scratch" if name == "from_scratch" else source
    return TrialSpec(pair=TaskPair(source=source, target=target), strategy=chosen, seed=seed)


def run_to_end(spec: TrialSpec, environment: Environment) -> tuple[list[Measurement], TrialResult]:
    """The measurements of a trial and its result."""
    run = TrialRun(spec, environment=environment)
    curve = []
    while not isinstance(step := run.advance(), TrialResult):
        curve.append(step)
    return curve, step
