"""A contender as a process of its own: it opens its Ray session, then answers requests until its input ends."""

import os
import sys
from contextlib import AbstractContextManager
from typing import Protocol

from throughput_parts.messages import Contender, Opening, Ready, Reply, Request
from transmeta.core import codec


class Runner(Protocol):
    note: str

    def run(self, request: Request) -> Reply: ...


def serve(opening: Opening) -> None:
    """Answers each line of standard input by one of standard output; what others print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        with _open(opening) as runner:
            print(codec.dumps(Ready(note=runner.note)), file=channel, flush=True)
            for line in sys.stdin:
                print(codec.dumps(runner.run(codec.loads(Request, line))), file=channel, flush=True)


def _open(opening: Opening) -> AbstractContextManager[Runner]:
    """Returns the contender; only its own modules are imported, for each sets Ray's environment in its own way."""
    if opening.contender is Contender.PLAIN:
        from throughput_parts.plain_tune import open_plain

        return open_plain(opening)
    if opening.contender is Contender.TUNED:
        from throughput_parts.tuned_tune import open_tuned

        return open_tuned(opening)
    from throughput_parts.ours import open_ours

    return open_ours(opening)
