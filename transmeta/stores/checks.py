"""What a row must be to be stored, and to be believed."""

import hashlib
import itertools
import math
import unicodedata
from typing import Final

from transmeta.core import codec
from transmeta.core.experience import Experience
from transmeta.core.task import ACCURACY
from transmeta.core.trial import TrialResult, TrialStatus
from transmeta.errors import InputError

LONGEST_LABEL: Final = 500
"""Characters in the name of a source, strategy, data set or domain."""


def payload_of(value: object, *, what: str) -> str:
    """Returns the canonical JSON of `value`.

    Raises:
        InputError: if it cannot be written, such as for a number that is not finite.
    """
    try:
        return codec.dumps(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} cannot be stored: {error}") from error


def payload_hash(payload: str) -> str:
    """Returns the SHA-256 of a row's payload, by which changed bytes are noticed."""
    return hashlib.sha256(payload.encode()).hexdigest()


def storable_payload(experience: Experience) -> str:
    """Returns the canonical JSON of `experience`, if every database can hold it.

    Raises:
        InputError: if a name is empty, too long or holds control characters, or a number is not finite.
    """
    payload = payload_of(experience, what=f"trial {experience.id}")
    spec = experience.result.spec
    labels = {
        "target": spec.target.id,
        "data set": spec.target.dataset,
        "domain": spec.target.domain,
        "source": spec.pair.source,
        "strategy": spec.strategy.name,
        "creation time": experience.provenance.created_at,
    }
    for kind, label in labels.items():
        check_label(label, what=f"trial {experience.id}: the {kind}")
    return payload


def check_label(label: str, *, what: str) -> None:
    """Checks that `label` is safe to store, to show and to type.

    Raises:
        InputError: if it is empty, too long, or holds control or invisible characters.
    """
    # Category C: control, format (such as right-to-left marks), surrogates; PostgreSQL refuses NUL, UTF-8 surrogates.
    is_clean = not any(unicodedata.category(character).startswith("C") for character in label)
    if not label or len(label) > LONGEST_LABEL or not is_clean:
        shown = label if len(label) <= 40 else label[:40] + "..."
        raise InputError(f"{what} is {shown!r}; use 1 to {LONGEST_LABEL} printable characters")


def fault_of(experience: Experience) -> str | None:
    """Returns what makes a row impossible, for rows that others wrote; None if nothing does."""
    result = experience.result
    curve = result.curve
    spent = [measurement.cost_s for measurement in curve]
    if result.cost_s < 0 or result.wall_s < 0 or any(cost_s < 0 for cost_s in spent):
        return "a cost is negative"
    if spent != sorted(spent):
        return "the cost goes down along the curve"
    if any(b.epoch <= a.epoch or b.progress < a.progress for a, b in itertools.pairwise(curve)):
        return "the epochs of the curve are out of order"
    if any(m.epoch < 1 or not 0 < m.progress <= 1 + 1e-9 for m in curve):
        return "a measurement lies outside the trial"
    if result.status is TrialStatus.COMPLETED and result.score is None:
        return "a completed trial has no score"
    return _score_fault(result)


def _score_fault(result: TrialResult) -> str | None:
    scores = [measurement.value for measurement in result.curve]
    scores += [score for score in (result.score, result.test_score) if score is not None]
    if not all(math.isfinite(score) for score in scores):
        return "a score is not finite"
    if result.spec.target.metric == ACCURACY and not all(0 <= score <= 1 for score in scores):
        return "an accuracy lies outside 0 to 1"
    return None
