"""Targets of two kinds, told apart by a feature: the arm that suits one kind fails on the other."""

from ..cases import CountingProposer, arm, experience

ARMS = {
    f"{source}-{rate}": arm(source, "linear_probe", rate=rate) for source in ("latin", "icons") for rate in (0.01, 0.1)
}
PROPOSER = CountingProposer()
COUNT = 16


def kind(index: int) -> int:
    return index % 2


def name(index: int) -> str:
    return f"t{index:02d}"


def score(index: int, label: str) -> float:
    """Source `latin` suits the even targets, `icons` the odd ones; the higher rate is always a little better."""
    suits = label.startswith("latin") == (kind(index) == 0)
    return 0.4 + 0.4 * suits + (0.05 if label.endswith("0.1") else 0.0) + 0.003 * index


INDICES = range(COUNT)
ROWS = experience(
    {name(i): {label: score(i, label) for label in ARMS} for i in INDICES},
    arms=ARMS,
    features={name(i): {"ink": kind(i) + 0.01 * i, "log_examples": float(i % 5)} for i in INDICES},
    pairs={name(i): {"latin": {"logme": 1.0 - kind(i)}, "icons": {"logme": float(kind(i))}} for i in INDICES},
)
EVEN_FEATURES = {
    "target": {"ink": 0.0, "log_examples": 2.0},
    "pairs": {"latin": {"logme": 1.0}, "icons": {"logme": 0.0}},
}
ODD_FEATURES = {
    "target": {"ink": 1.0, "log_examples": 2.0},
    "pairs": {"latin": {"logme": 0.0}, "icons": {"logme": 1.0}},
}
