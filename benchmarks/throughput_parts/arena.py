"""Contenders started, asked and measured from outside."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from throughput_parts.messages import Contender, Opening, Ready, Reply, Request
from throughput_parts.tree import TreeClock
from transmeta.core import codec

COMMAND: Final = Path(__file__).parent.parent / "throughput.py"
CLOSING_S: Final = 60.0
OWN: Final = ("RAY_", "TUNE_", "MALLOC_")
"""Settings of the caller's shell that no contender gets: each sets its own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A reply with what it cost; CPU seconds are those of the contender's whole process tree."""

    reply: Reply
    cpu_s: float


@final
class Running:
    """A contender that is up.

    Attributes:
        start_s, start_cpu_s: from the start of its process to its Ray session being up and, of ours, the pool.
    """

    def __init__(self, process: "subprocess.Popen[str]", clock: TreeClock, *, started_s: float, log: Path) -> None:
        self._process = process
        self._clock = clock
        self._log = log
        ready = codec.loads(Ready, self._line())
        self.note = ready.note
        self.start_s = time.perf_counter() - started_s
        self.start_cpu_s = clock.read_s()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Request) -> Measured:
        """Returns what the contender did."""
        before_s = self._clock.read_s()
        assert self._process.stdin is not None
        self._process.stdin.write(codec.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = codec.loads(Reply, self._line())
        return Measured(reply=reply, cpu_s=self._clock.read_s() - before_s)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = self._log.read_text(errors="replace")[-3000:]
            raise SystemExit(f"a contender died ({self._log}):\n{tail}")
        return line


@contextmanager
def started(opening: Opening, *, plugins: Path) -> Iterator[Running]:
    """Starts a contender for the length of the block."""
    folder = Path(opening.folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    environment["PYTHONPATH"] = os.pathsep.join([str(plugins), str(COMMAND.parent)])
    log = folder / "log.txt"
    started_s = time.perf_counter()
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, str(COMMAND), "--serve", codec.dumps(opening)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
        try:
            with TreeClock(process.pid) as clock:
                yield Running(process, clock, started_s=started_s, log=log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=CLOSING_S)
            except subprocess.TimeoutExpired:
                process.kill()


def opening_of(contender: Contender, *, folder: Path, models: Path, engine: str, slots: int) -> Opening:
    """Returns how to start a contender in a folder of its own."""
    name = f"{contender.value}-{time.time_ns()}"
    return Opening(contender=contender, folder=str(folder / name), models=str(models), engine=engine, slots=slots)
