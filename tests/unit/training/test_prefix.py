import dataclasses
import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import safetensors
import torch

from transmeta.training import prefix
from transmeta.training.prefix import CacheStats, PrefixCache, PrefixKey, SplitPrefix

KEY = PrefixKey(architecture="small_cnn", weights="w", inputs=(32, 32, 3), start=2, data="digits.k3.s0", split="train")


def key(number: int) -> PrefixKey:
    return dataclasses.replace(KEY, data=f"task-{number}")


class Slow:
    """Makes a tensor, slowly enough to be worth a file, and counts how often."""

    def __init__(self, value: float = 1.0, *, count: int = 4, seconds: float = 0.01) -> None:
        self.calls = 0
        self._value, self._count, self._seconds = value, count, seconds

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        time.sleep(self._seconds)
        return torch.full((self._count,), self._value)


def refuse() -> torch.Tensor:
    raise AssertionError("computed again")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".safetensors")


def test_a_tensor_is_computed_once_and_then_at_hand():
    cache, slow = PrefixCache(None), Slow()

    first, again = cache.get(KEY, slow), cache.get(KEY, refuse)

    assert again is first
    assert slow.calls == 1
    assert cache.stats == CacheStats(memory_hits=1, misses=1)


@pytest.mark.parametrize(
    "other",
    [
        {"architecture": "resnet20"},
        {"weights": "v"},
        {"inputs": (64, 64, 3)},
        {"start": 1},
        {"data": "x"},
        {"split": "test"},
        {"dtype": "float64"},
        {"device": "cuda"},
        {"library": "0.0"},
        {"preprocessing": 0},
    ],
)
def test_whatever_determines_the_tensor_is_in_its_key(other):
    cache = PrefixCache(None)
    cache.get(KEY, Slow(1.0))

    got = cache.get(dataclasses.replace(KEY, **other), Slow(2.0))

    assert got[0] == 2.0


def test_another_process_reads_what_was_written(tmp_path):
    PrefixCache(tmp_path).get(KEY, Slow(3.0))

    later = PrefixCache(tmp_path)
    got = later.get(KEY, refuse)

    assert got.tolist() == [3.0] * 4
    assert later.stats == CacheStats(disk_hits=1)


def test_images_come_back_from_disk_with_their_strides(tmp_path):
    images = torch.rand(3, 5, 4, 2).to(memory_format=torch.channels_last)

    def compute() -> torch.Tensor:
        time.sleep(0.01)
        return images

    PrefixCache(tmp_path).get(KEY, compute)
    got = PrefixCache(tmp_path).get(KEY, refuse)

    assert torch.equal(got, images)
    assert got.stride() == images.stride()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_who_writes_and_who_reads_share_the_pages_of_one_file(tmp_path):
    held = []
    for fold in (1, 2):
        held.append(PrefixCache(tmp_path).get(KEY, Slow()))
        (path,) = files(tmp_path)
        assert len({line for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line}) == fold


def test_what_is_computed_faster_than_it_is_written_is_not_written(tmp_path):
    cache = PrefixCache(tmp_path)

    cache.get(KEY, lambda: torch.zeros(2_000_000))

    assert files(tmp_path) == []


def test_prepared_examples_are_kept_in_memory_only(tmp_path):
    cache = PrefixCache(tmp_path)

    cache.get(dataclasses.replace(KEY, start=0), Slow())

    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_files_give_way(tmp_path):
    size = 4000 * 4
    cache = PrefixCache(tmp_path, disk_bytes=int(2.5 * (size + 200)), memory_bytes=1)
    for number in range(2):
        cache.get(key(number), Slow(float(number), count=4000))
        time.sleep(0.02)
    cache.get(key(0), refuse)  # so that 1 is the one that was not used for longest

    cache.get(key(2), Slow(2.0, count=4000))

    later = PrefixCache(tmp_path, memory_bytes=1)
    assert later.get(key(0), refuse)[0] == 0
    assert later.get(key(2), refuse)[0] == 2
    assert len(files(tmp_path)) == 2
    assert cache.stats.evictions == 1


def test_memory_is_bounded_and_the_newest_stays():
    cache = PrefixCache(None, memory_bytes=40)
    for number in range(4):
        cache.get(key(number), Slow(number))

    cache.get(key(3), refuse)
    again = Slow(0.0)
    cache.get(key(0), again)

    assert again.calls == 1


def flipped(content: bytes) -> bytes:
    return content[:-2] + bytes([content[-2] ^ 0xFF]) + content[-1:]


DAMAGES = {
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(7),
    "text": lambda content: b"not a tensor file at all",
    "without its end": lambda content: content[:-3],
    "one byte is another": flipped,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_again_and_replaced(tmp_path, damage, caplog):
    PrefixCache(tmp_path).get(KEY, Slow(1.0))
    (path,) = files(tmp_path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    got = PrefixCache(tmp_path).get(KEY, Slow(5.0))

    assert got[0] == 5.0
    assert "computed again" in caplog.text
    assert PrefixCache(tmp_path).get(KEY, refuse)[0] == 5.0


def test_a_folder_that_cannot_be_written_costs_no_trial(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = PrefixCache(blocked / "prefix")

    tensors = [cache.get(key(number), Slow(number)) for number in range(3)]

    assert [int(tensor[0]) for tensor in tensors] == [0, 1, 2]
    assert caplog.text.count("kept in memory only") == 1


def test_a_folder_that_may_only_be_read_is_read(tmp_path, monkeypatch, caplog):
    PrefixCache(tmp_path).get(KEY, Slow())

    def refuse_to_touch(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse_to_touch)
    cache = PrefixCache(tmp_path)
    cache.get(KEY, refuse)

    assert cache.stats == CacheStats(disk_hits=1)
    assert not caplog.text


def test_a_good_file_outlives_a_process_that_cannot_open_it(tmp_path, monkeypatch):
    PrefixCache(tmp_path).get(KEY, Slow(1.0))

    def refuse_to_open(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors, "safe_open", refuse_to_open)
        patch.setattr(prefix, "DISK_BYTES_PER_S", 1e-9)  # so that it is not just written again
        assert PrefixCache(tmp_path).get(KEY, Slow(2.0))[0] == 2

    assert PrefixCache(tmp_path).get(KEY, refuse)[0] == 1


def test_a_full_disk_costs_one_warning_and_no_trial(tmp_path, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prefix, "write_atomically", full)
    cache = PrefixCache(tmp_path)
    tensors = [cache.get(key(number), Slow(number)) for number in range(3)]

    assert [int(tensor[0]) for tensor in tensors] == [0, 1, 2]
    assert caplog.text.count("kept in memory only") == 1
    assert cache.stats.written_bytes == 0


def test_nobody_waits_for_what_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(prefix, "DISK_BYTES_PER_S", 1e-9)
    PrefixCache(tmp_path).get(KEY, Slow())
    together = threading.Barrier(3)

    def ask() -> None:
        PrefixCache(tmp_path).get(KEY, lambda: torch.ones(together.wait(timeout=5) + 1))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not together.broken


def test_what_was_not_worth_a_file_may_be_later(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(prefix, "DISK_BYTES_PER_S", 1e-9)
        PrefixCache(tmp_path).get(KEY, Slow())
    PrefixCache(tmp_path).get(KEY, Slow())
    assert files(tmp_path) == []

    (lock,) = tmp_path.iterdir()
    os.utime(lock, (0, 0))
    PrefixCache(tmp_path).get(KEY, Slow())

    assert len(files(tmp_path)) == 1


def compute_in_process(folder: str, marks: str) -> None:
    def compute() -> torch.Tensor:
        Path(marks, str(os.getpid())).touch()
        time.sleep(0.3)
        return torch.ones(4)

    assert PrefixCache(Path(folder)).get(KEY, compute)[0] == 1


def hang_while_writing(folder: str, marks: str) -> None:
    def hang(_: int) -> None:
        Path(marks, "began").touch()
        time.sleep(60)

    os.fsync = hang
    PrefixCache(Path(folder)).get(KEY, Slow(5.0))


def hang_in_process(folder: str, marks: str) -> None:
    def compute() -> torch.Tensor:
        Path(marks, "began").touch()
        time.sleep(60)
        return torch.zeros(4)

    PrefixCache(Path(folder)).get(KEY, compute)


def test_processes_that_ask_together_compute_once(tmp_path):
    folder, marks = tmp_path / "cache", tmp_path / "marks"
    marks.mkdir()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=compute_in_process, args=(str(folder), str(marks))) for _ in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(marks.iterdir())) == 1


def test_who_does_not_wait_is_told_that_another_process_computes(tmp_path):
    folder, marks = tmp_path / "cache", tmp_path / "marks"
    marks.mkdir()
    process = multiprocessing.get_context("fork").Process(target=hang_in_process, args=(str(folder), str(marks)))
    process.start()
    while not (marks / "began").exists():
        time.sleep(0.01)

    cache = PrefixCache(folder)
    busy = cache.get(KEY, refuse, waits=False)
    other = cache.get(key(2), Slow(2.0), waits=False)
    process.kill()
    process.join()

    assert busy is None
    assert other is not None
    assert other[0] == 2.0
    assert cache.get(KEY, Slow(3.0), waits=False)[0] == 3.0, "the lock ended with its process"


@pytest.mark.parametrize(
    ("hang", "unfinished"), [(hang_in_process, 0), (hang_while_writing, 1)], ids=["computing", "writing"]
)
def test_a_writer_that_is_killed_leaves_nothing_to_be_read_and_the_next_one_succeeds(tmp_path, hang, unfinished):
    folder, marks = tmp_path / "cache", tmp_path / "marks"
    marks.mkdir()
    process = multiprocessing.get_context("fork").Process(target=hang, args=(str(folder), str(marks)))
    process.start()
    while not (marks / "began").exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    assert files(folder) == []
    assert len(list(folder.glob(".*.safetensors.*"))) == unfinished
    assert PrefixCache(folder).get(KEY, Slow(7.0))[0] == 7.0
    assert len(files(folder)) == 1
    assert list(folder.glob(".*.safetensors.*")) == []


def test_what_killed_writers_left_is_removed_in_time(tmp_path):
    old = tmp_path / ".half.safetensors.abc"
    old.write_bytes(b"half")
    os.utime(old, (0, 0))
    new = tmp_path / ".fresh.safetensors.abc"
    new.write_bytes(b"half")

    PrefixCache(tmp_path).get(KEY, Slow())

    assert not old.exists()
    assert new.exists()


def test_a_source_and_target_have_a_tensor_for_each_split_and_cut():
    shared = SplitPrefix(cache=PrefixCache(None), key=KEY)

    one = shared.get("train", start=1, compute=Slow(1.0))
    two = shared.get("test", start=1, compute=Slow(2.0))
    three = shared.get("train", start=2, compute=Slow(3.0))

    assert [int(tensor[0]) for tensor in (one, two, three)] == [1, 2, 3]
    assert shared.get("test", start=1, compute=refuse) is two


def test_the_numbers_and_the_place_of_a_model_are_part_of_the_key():
    shared = SplitPrefix(cache=PrefixCache(None), key=KEY)

    double = shared.on(torch.device("cpu"), dtype=torch.float64)

    assert shared.on(torch.device("cpu"), dtype=torch.float32).key == KEY
    assert double.key == dataclasses.replace(KEY, dtype="float64")


def test_threads_may_share_a_cache(tmp_path):
    cache = PrefixCache(tmp_path, memory_bytes=40)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        for step in range(100):
            number = (step * (2 * seed + 1)) % 5
            if cache.get(dataclasses.replace(key(number), start=0), Slow(number, seconds=0))[0] != number:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert cache.stats.memory_hits + cache.stats.misses == 400
