"""Runs a piece of work again after a fault that passes by itself."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

FIRST_DELAY_S: Final = 0.05
LONGEST_DELAY_S: Final = 2.0


def retried(
    work: Callable[[], T],
    *,
    is_passing: Callable[[DBAPIError], bool],
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Returns what `work` returns, starting it again, ever more slowly, while its faults are passing ones.

    Args:
        work: must have the same effect whether it ran once or more often.
        patience_s: no new start is made later than this many seconds after the first.

    Raises:
        DBAPIError: the last fault, if it was not a passing one or patience ran out.
    """
    # Processes that were refused together must not come back together, so the delays differ between them.
    jitter = random.SystemRandom()
    deadline = clock() + patience_s
    delay_s = FIRST_DELAY_S
    while True:
        try:
            return work()
        except DBAPIError as error:
            pause_s = delay_s * jitter.uniform(0.5, 1.5)
            if not is_passing(error) or clock() + pause_s > deadline:
                raise
        sleep(pause_s)
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)
