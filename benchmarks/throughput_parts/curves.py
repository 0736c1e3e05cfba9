"""Curves: how the rates change with what is run."""

from collections.abc import Sequence
from typing import Final

from throughput_parts.rounds import Bench
from transmeta.core.codec import Json

NAMES: Final = ("trials",)


def measure(names: Sequence[str], *, bench: Bench) -> dict[str, Json]:
    return {}


def as_text(found: dict[str, Json]) -> str:
    return ""
