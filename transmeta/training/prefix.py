"""Outputs of frozen stages, computed once on a node: by what they are made of, on disk and in memory."""

import contextlib
import dataclasses
import fcntl
import logging
import os
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from transmeta.core import codec
from transmeta.training.files import write_atomically

SUFFIX: Final = ".safetensors"
NAME: Final = "prefix"
CHANNELS_LAST: Final = "prefix_channels_last"
"""Name of a tensor of images whose memory has the channels last; written so, it comes back with its strides."""
CHECKSUM: Final = "crc32"
DISK_BYTES: Final = 4 * 2**30
MEMORY_BYTES: Final = 512 * 2**20
DISK_BYTES_PER_S: Final = 2e8
"""About what a disk takes; what is computed faster than it is written is not written."""
BUSY: Final = -1
"""In place of the file of a lock that another process holds."""
STALE_S: Final = 3600.0
"""Unfinished files older than this are those of writers that were killed; what was not worth a file may be by now."""

DAMAGE: Final = (KeyError, ValueError, safetensors.SafetensorError)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PrefixKey:
    """All that determines the output of a frozen prefix for a split; equal keys mean equal tensors, bit by bit.

    Attributes:
        architecture: what the weights are the weights of.
        weights: checksum of the source's weights.
        inputs: shape that the first stage takes: examples are resized to it.
        start: number of stages that are run.
        data: digest of the task, which holds the fingerprint of its data.
        split: train, validation or test.
        dtype, device: that the stages are run in and on.
        library: version of torch, as others may round otherwise.
        preprocessing: raised whenever `prepare`, or how many examples are run at a time, changes.
    """

    architecture: str
    weights: str
    inputs: tuple[int, ...]
    start: int
    data: str
    split: str
    dtype: str = "float32"
    device: str = "cpu"
    library: str = str(torch.__version__)
    preprocessing: int = 2


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

    def on(self, device: torch.device, *, dtype: torch.dtype) -> "SplitPrefix":
        """Returns the cache for stages that are run on `device` in `dtype`."""
        name = str(dtype).removeprefix("torch.")
        return dataclasses.replace(self, key=dataclasses.replace(self.key, dtype=name, device=device.type))

    def at_hand(self, split: str, *, start: int) -> Tensor | None:
        """Returns what `get` would, if it is in memory."""
        return self.cache.at_hand(dataclasses.replace(self.key, split=split, start=start))

    def get(self, split: str, *, start: int, compute: Callable[[], Tensor], waits: bool = True) -> Tensor | None:
        """Returns the output of the first `start` stages for the split of that name; arguments as in the cache."""
        return self.cache.get(dataclasses.replace(self.key, split=split, start=start), compute, waits=waits)


@final
class PrefixCache:
    """Tensors by key: the latest in memory, more of them in a folder that the processes of a node share.

    Files are mapped into memory, so processes share their pages. A tensor is computed once even where several
    processes ask for it together; the others wait, and compute it themselves if the first is killed. Nobody waits for
    what is not written. A folder that cannot be written or a file that cannot be read costs time, never a trial.
    Threads may share a cache.

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
        self._lock = threading.Lock()
        self._is_writable = True

    def at_hand(self, key: PrefixKey) -> Tensor | None:
        """Returns the tensor of `key` if it is in memory, without counting that as use."""
        return self._kept.get(codec.digest(key))

    def get(self, key: PrefixKey, compute: Callable[[], Tensor], *, waits: bool = True) -> Tensor | None:
        """Returns the tensor of `key`, by `compute` where it is not at hand; not to be written to.

        Args:
            waits: whether to wait for another process that is computing it; None is returned otherwise.
        """
        name = codec.digest(key)
        with self._lock:
            if (kept := self._kept.get(name)) is not None:
                self._kept.move_to_end(name)
        if kept is not None:
            self._count(memory_hits=1)
            return kept
        if self._folder is not None and key.start:
            tensor = self._on_disk(name, compute, waits=waits)
        else:
            tensor = self._computed(compute)
        if tensor is not None:
            self._keep(name, tensor)
        return tensor

    def _on_disk(self, name: str, compute: Callable[[], Tensor], *, waits: bool) -> Tensor | None:
        assert self._folder is not None
        path = self._folder / f"{name}{SUFFIX}"
        if (found := self._read(path)) is not None:
            return found
        if not self._is_writable:
            return self._computed(compute)
        with self._locked(name, waits=waits) as lock:
            if lock == BUSY:
                return None
            if (found := self._read(path)) is not None:  # somebody else has computed it meanwhile
                return found
            if not _is_passed_over(lock):
                began_s = time.perf_counter()
                tensor = self._computed(compute)
                is_worth_it = time.perf_counter() - began_s > _bytes(tensor) / DISK_BYTES_PER_S
                if is_worth_it and self._write(path, tensor, is_alone=lock is not None):
                    return _shared(path, tensor)
                _pass_over(lock)
                return tensor
        return self._computed(compute)  # with all the others that were waiting, not after them

    def _computed(self, compute: Callable[[], Tensor]) -> Tensor:
        self._count(misses=1)
        return compute().detach()

    def _read(self, path: Path) -> Tensor | None:
        try:
            tensor = _unpacked(path)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:  # no memory, no descriptors, no permission: the file may be good
            logger.warning("%s: cannot be read (%s); it is computed again", path, error)
            return None
        except DAMAGE as error:
            logger.warning("%s: is damaged (%s); it is computed again", path, error)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):  # a folder that may only be read is read all the same
            os.utime(path)
        self._count(disk_hits=1)
        return tensor

    def _write(self, path: Path, tensor: Tensor, *, is_alone: bool) -> bool:
        """Returns whether the tensor is on disk now.

        Args:
            is_alone: no other process is writing this tensor, so unfinished files are those of killed ones.
        """
        try:
            if is_alone:
                for unfinished in path.parent.glob(f".{path.name}.*"):
                    unfinished.unlink(missing_ok=True)
            write_atomically(path, _packed(tensor.cpu()))
            self._count(written_bytes=_bytes(tensor))
            self._evict(path)
        except OSError as error:
            self._is_writable = False
            logger.warning("%s: cannot be written (%s); outputs of frozen stages are kept in memory only", path, error)
            return False
        return True

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
        with self._lock:
            self._kept[name] = tensor
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._memory_bytes:
                self._kept.popitem(last=False)

    @contextlib.contextmanager
    def _locked(self, name: str, *, waits: bool) -> Iterator[int | None]:
        """Holds the lock of a tensor, which ends with the process; yields its file, or None where locks do not work.

        Yields `BUSY` if another process holds it and this one is not to wait.
        """
        assert self._folder is not None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / f".{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            yield None
            return
        try:
            found: int | None = handle
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found = BUSY
            except OSError:
                found = None
            yield found
        finally:
            os.close(handle)

    def _count(self, **more: int) -> None:
        with self._lock:
            before = self.stats
            self.stats = dataclasses.replace(before, **{name: getattr(before, name) + n for name, n in more.items()})


def _is_passed_over(lock: int | None) -> bool:
    """Returns whether whoever held the lock lately found the tensor not worth a file, or could not write it."""
    if lock is None:
        return False
    status = os.fstat(lock)
    is_passed_over = status.st_size > 0 and time.time() - status.st_mtime < STALE_S
    if not is_passed_over:
        with contextlib.suppress(OSError):
            os.utime(lock)  # locks that look unused are removed
    return is_passed_over


def _pass_over(lock: int | None) -> None:
    if lock is not None:
        with contextlib.suppress(OSError):
            os.ftruncate(lock, 1)  # a hole, which a full disk takes too
            os.utime(lock)


def _shared(path: Path, tensor: Tensor) -> Tensor:
    """Returns `tensor` as others map it, so that its own memory can go; itself where that cannot be."""
    if tensor.device.type == "cpu":
        with contextlib.suppress(OSError, RuntimeError, *DAMAGE):
            return _unpacked(path)
    return tensor


def _packed(tensor: Tensor) -> bytes:
    """Returns the file of a tensor, with a checksum of its elements in the order in which they are written."""
    is_channels_last = (
        tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    )
    name, packed = (CHANNELS_LAST, tensor.permute(0, 2, 3, 1)) if is_channels_last else (NAME, tensor.contiguous())
    return bytes(safetensors.torch.save({name: packed}, metadata={CHECKSUM: _checksum(packed)}))


def _unpacked(path: Path) -> Tensor:
    """Returns the tensor in a file, mapped into memory.

    Raises:
        ValueError: if its checksum is another.
        KeyError, SafetensorError: if there is none.
    """
    with safetensors.safe_open(path, framework="pt") as file:
        (name,) = file.keys()
        tensor: Tensor = file.get_tensor(name)
        if (file.metadata() or {})[CHECKSUM] != _checksum(tensor):
            raise ValueError("its checksum is another")
    return tensor.permute(0, 3, 1, 2) if name == CHANNELS_LAST else tensor


def _checksum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data):08x}"


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
