"""Outputs of frozen stages, computed once on a node: by what they are made of, on disk and in memory."""

import contextlib
import dataclasses
import fcntl
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

import safetensors
import safetensors.torch
from torch import Tensor

from transmeta.core import codec
from transmeta.training.files import write_atomically

SUFFIX: Final = ".safetensors"
NAME: Final = "prefix"
DISK_BYTES: Final = 4 * 2**30
MEMORY_BYTES: Final = 512 * 2**20
DISK_BYTES_PER_S: Final = 2e8
"""About what a disk takes; what is computed faster than it is written is not written."""
STALE_S: Final = 3600.0
"""Unfinished files older than this are those of writers that were killed."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PrefixKey:
    """All that determines the output of a frozen prefix for a split; equal keys mean equal tensors.

    Attributes:
        weights: checksum of the source's weights.
        inputs: shape that the first stage takes: examples are resized to it.
        start: number of stages that are run.
        data: id of the task, which holds the fingerprint of its data.
        split: train, validation or test.
        preprocessing: raised whenever `prepare` changes.
    """

    weights: str
    inputs: tuple[int, ...]
    start: int
    data: str
    split: str
    dtype: str = "float32"
    preprocessing: int = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache did in this process."""

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    written_bytes: int = 0
    evictions: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitPrefix:
    """The cache for one source and target.

    Attributes:
        key: with any `start` and `split`.
    """

    cache: "PrefixCache"
    key: PrefixKey

    def get(self, split: str, *, start: int, compute: Callable[[], Tensor]) -> Tensor:
        """Returns the output of the first `start` stages for the split of that name."""
        return self.cache.get(dataclasses.replace(self.key, split=split, start=start), compute)


@final
class PrefixCache:
    """Tensors by key: the latest in memory, more of them in a folder that the processes of a node share.

    Files are mapped into memory, so processes share their pages. A tensor is computed once even where several
    processes ask for it together; the others wait, and compute it themselves if the first is killed. A folder that
    cannot be written or a file that cannot be read costs time, never a trial.

    Args:
        folder: None to keep tensors in memory only.
        disk_bytes, memory_bytes: least recently used tensors give way above these.
    """

    def __init__(self, folder: Path | None, *, disk_bytes: int = DISK_BYTES, memory_bytes: int = MEMORY_BYTES) -> None:
        self.stats = CacheStats()
        self._folder = folder
        self._disk_bytes = disk_bytes
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._is_writable = True

    def get(self, key: PrefixKey, compute: Callable[[], Tensor]) -> Tensor:
        """Returns the tensor of `key`, by `compute` where it is not at hand; not to be written to."""
        name = codec.digest(key)
        if name in self._kept:
            self._kept.move_to_end(name)
            self._count(memory_hits=1)
            return self._kept[name]
        tensor = self._on_disk(name, compute) if self._folder is not None and key.start else self._computed(compute)
        self._keep(name, tensor)
        return tensor

    def _on_disk(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        assert self._folder is not None
        path = self._folder / f"{name}{SUFFIX}"
        if (found := self._read(path)) is not None:
            return found
        with self._locked(name):
            if (found := self._read(path)) is not None:  # somebody else has computed it meanwhile
                return found
            began_s = time.perf_counter()
            tensor = self._computed(compute)
            if time.perf_counter() - began_s > _bytes(tensor) / DISK_BYTES_PER_S:
                self._write(path, tensor)
            return tensor

    def _computed(self, compute: Callable[[], Tensor]) -> Tensor:
        self._count(misses=1)
        return compute().detach()

    def _read(self, path: Path) -> Tensor | None:
        try:
            tensor = safetensors.torch.load_file(path)[NAME]
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            logger.warning("%s: cannot be read (%s); it is computed again", path, error)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        self._count(disk_hits=1)
        return tensor

    def _write(self, path: Path, tensor: Tensor) -> None:
        if not self._is_writable:
            return
        try:
            write_atomically(path, safetensors.torch.save({NAME: tensor.cpu().contiguous()}))
            self._count(written_bytes=_bytes(tensor))
            self._evict(path)
        except OSError as error:
            self._is_writable = False
            logger.warning("%s: cannot be written (%s); outputs of frozen stages are kept in memory only", path, error)

    def _evict(self, newest: Path) -> None:
        """Removes the files that were not used for longest, and what killed writers left; never `newest`."""
        files: list[tuple[float, int, Path]] = []
        for path in newest.parent.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process evicts too
                status = path.stat()
                if path.suffix == SUFFIX and not path.name.startswith("."):
                    files.append((status.st_mtime, status.st_size, path))
                elif time.time() - status.st_mtime > STALE_S:
                    path.unlink()
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._disk_bytes:
                return
            if path != newest:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    self._count(evictions=1)
                total -= size

    def _keep(self, name: str, tensor: Tensor) -> None:
        self._kept[name] = tensor
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._memory_bytes:
            self._kept.popitem(last=False)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Holds the lock of a tensor, which ends with the process; goes on without where locks do not work."""
        assert self._folder is not None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / f".{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            yield
            return
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _count(self, **more: int) -> None:
        before = self.stats
        self.stats = dataclasses.replace(before, **{name: getattr(before, name) + n for name, n in more.items()})


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
