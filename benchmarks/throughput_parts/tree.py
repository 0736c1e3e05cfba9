"""CPU seconds, memory and file descriptors of a process with all its descendants."""

import dataclasses
import threading
from types import TracebackType
from typing import Final, Self, final

import psutil

PERIOD_S: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """At one moment; memory is the proportional share (PSS) where the system tells it, so that shared pages count once.

    Attributes:
        largest_bytes: of the largest single process.
    """

    memory_bytes: int
    largest_bytes: int
    descriptors: int
    processes: int


@final
class TreeClock:
    """CPU seconds that a process and its descendants have used, those that ended included.

    The tree is looked at every half a second, for whoever reaps Ray's workers forgets their times: of each process
    that ends, what it used since the last look (a quarter of a second on average) is missed. Favours the rivals.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._used: dict[tuple[int, float], float] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tree-clock", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def read_s(self) -> float:
        """Returns the CPU seconds since the process began."""
        with self._lock:
            for process in _tree(self._root):
                try:
                    times = process.cpu_times()
                    self._used[process.pid, process.create_time()] = times.user + times.system
                except psutil.Error:
                    continue  # it has just ended
            return sum(self._used.values())

    def _watch(self) -> None:
        while not self._is_over.wait(PERIOD_S):
            self.read_s()


def footprint(pid: int) -> Footprint:
    """Returns memory and descriptors of a process and its descendants now."""
    sizes, descriptors = [], 0
    for process in _tree(psutil.Process(pid)):
        try:
            sizes.append(int(process.memory_full_info().pss))
            descriptors += process.num_fds()
        except psutil.Error:
            continue
    return Footprint(
        memory_bytes=sum(sizes), largest_bytes=max(sizes, default=0), descriptors=descriptors, processes=len(sizes)
    )


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
