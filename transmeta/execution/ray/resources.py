"""What a trial or a training worker takes of the cluster, and the refusal of what no node can give."""

import dataclasses
import math

import ray

from transmeta.errors import InfeasibleError, InputError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one trial, or one training worker, takes.

    Attributes:
        cpus: logical CPUs; fractions share one.
        gpus: logical GPUs; fractions share one, whole numbers above 1 take several.
    """

    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name}: {value} is not an amount; give 0 or more")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise InputError(f"gpus: {self.gpus} is neither a fraction of one nor a whole number; round it")

    def as_ray(self) -> dict[str, float]:
        """Returns what Ray takes, such as `{"CPU": 1.0}`."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})


def slots(resources: Resources, *, workers: int = 1) -> int:
    """Returns how many groups of `workers` such workers the cluster can run at once.

    Raises:
        InfeasibleError: if it can't run one, with what was asked for and what there is.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray's
    places = sum(_places(node, resources) for node in nodes)
    if places < workers:
        total = {key: sum(node.get(key, 0.0) for node in nodes) for key in ("CPU", "GPU")}
        asked = f"{workers} x {resources.cpus:g} CPU and {resources.gpus:g} GPU"
        raise InfeasibleError(
            f"infeasible: asked for {asked}, the cluster has {total['CPU']:g} CPU and {total['GPU']:g} GPU "
            f"on {len(nodes)} node(s); ask for less or add nodes"
        )
    return places // workers


def can_share_trial(resources: Resources) -> bool:
    """Whether workers could run one trial together: on one node, where all see the same files, and on whole devices."""
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray's
    return len(nodes) == 1 and resources.gpus == int(resources.gpus)


def _places(node: dict[str, float], resources: Resources) -> int:
    wanted = {key: value for key, value in resources.as_ray().items() if value > 0}
    return int(min((node.get(key, 0.0) / value + 1e-9 for key, value in wanted.items()), default=64))
