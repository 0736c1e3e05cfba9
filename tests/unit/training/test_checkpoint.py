import contextlib
import json
import os
import pickle
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from transmeta.errors import UnsafeFileError
from transmeta.training.checkpoint import (
    MANIFEST,
    META,
    WEIGHTS,
    parse_tensors,
    read_checkpoint,
    read_tensors,
    sha256,
    tensor_bytes,
    write_checkpoint,
)

TENSORS = {
    "stages.0.weight": torch.arange(12.0).reshape(3, 4),
    "stages.0.bias": torch.tensor([0.5, -0.5, 1e-30]),
    "head.weight": torch.ones(2, 3, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
}
SMALL = tensor_bytes({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3])})
META_VALUE = {"schema": 1, "name": "x"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "model", tensors=TENSORS, meta=META_VALUE)
    return tmp_path / "model"


def are_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in first
    )


def with_header(header: object, body: bytes = b"") -> bytes:
    """A safetensors file with any header, as bytes or as what json can write."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(**values: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | values


# Writing and reading


def test_what_is_written_is_read_back(folder):
    tensors, meta = read_checkpoint(folder)

    assert are_equal(tensors, TENSORS)
    assert meta == META_VALUE


def test_a_transposed_or_channels_last_tensor_is_read_back(tmp_path):
    tensors = {
        "t": torch.arange(6.0).reshape(2, 3).T,
        "c": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }

    write_checkpoint(tmp_path / "model", tensors=tensors, meta={})

    assert are_equal(read_checkpoint(tmp_path / "model")[0], tensors)


@pytest.mark.parametrize("length", range(1, 97))
def test_weights_are_read_whatever_the_length_of_their_header(length):
    """The file begins with that length: 128, 384, 640, ... bytes make it look like a pickle at first sight."""
    tensors = {"x" * length: torch.ones(1), "other": torch.ones(1)}

    assert are_equal(parse_tensors(tensor_bytes(tensors), where="w"), tensors)


def test_a_weight_that_asks_for_a_gradient_is_written_as_its_value():
    weight = torch.nn.Parameter(torch.tensor([1.0]))

    assert are_equal(parse_tensors(tensor_bytes({"w": weight}), where="w"), {"w": torch.tensor([1.0])})


def test_a_checkpoint_holds_three_files_of_which_none_is_a_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST, META, WEIGHTS])
    for path in folder.iterdir():
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(path.read_bytes())  # noqa: S301 - that it fails is the point


def test_a_checkpoint_whose_writing_fails_leaves_the_old_one(folder, monkeypatch):
    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(folder, tensors={"a": torch.zeros(1)}, meta={})

    assert are_equal(read_checkpoint(folder)[0], TENSORS)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_json_cannot_hold_leaves_the_old_checkpoint(folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_checkpoint(folder, tensors=TENSORS, meta={"score": float("nan")})

    assert read_checkpoint(folder)[1] == META_VALUE


# A folder that is not whole


@pytest.mark.parametrize("name", [MANIFEST, META, WEIGHTS])
def test_a_checkpoint_without_one_of_its_files_is_refused(name, folder):
    (folder / name).unlink()

    with pytest.raises(UnsafeFileError, match="use another one"):
        read_checkpoint(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UnsafeFileError, match=r"no MANIFEST\.json, so this is not a whole checkpoint"):
        read_checkpoint(tmp_path / "missing")


@pytest.mark.parametrize("name", [META, WEIGHTS])
def test_a_file_that_differs_from_the_manifest_is_refused(name, folder):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)

    with pytest.raises(UnsafeFileError, match=f"{name}: differs from its manifest"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "manifest",
    [
        *(b"", b"nonsense", b"[]", b"null", b"{}", b'{"files": []}', b'{"files": {}}', b"\xff\xfe", b"[" * 100_000),
        b'{"files": {"weights.safetensors": 3, "meta.json": 3}}',
    ],
)
def test_a_manifest_of_somebody_else_is_refused(manifest, folder):
    (folder / MANIFEST).write_bytes(manifest)

    with pytest.raises(UnsafeFileError, match="not a manifest of ours; use another checkpoint"):
        read_checkpoint(folder)


@pytest.mark.parametrize("meta", [b"", b"nonsense", b"\xff", b"[" * 100_000])
def test_meta_that_is_not_json_is_refused_even_if_the_manifest_agrees(meta, folder):
    (folder / META).write_bytes(meta)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][META]["sha256"] = sha256(meta)
    (folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(UnsafeFileError, match=r"meta\.json: not JSON"):
        read_checkpoint(folder)


# Weights of others


def test_a_file_with_the_checksum_that_is_asked_for_is_read(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(SMALL)

    assert read_tensors(path, digest=sha256(SMALL))["a"].tolist() == read_tensors(path)["a"].tolist() == [1.0, 2.0]


def test_a_file_with_another_checksum_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(SMALL)

    with pytest.raises(UnsafeFileError, match=r"SHA-256 is .*, expected 000000000000\.\.\.; fetch it again"):
        read_tensors(path, digest="0" * 64)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnsafeFileError, match="no such file"):
        read_tensors(tmp_path / "w.safetensors")


def torch_file(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path)


def old_torch_file(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def pickle_file(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": [1.0]}))


def numpy_file(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(2))


@pytest.mark.parametrize("write", [torch_file, old_torch_file, pickle_file, numpy_file])
def test_a_pickle_is_refused_by_name_and_not_opened(write: Callable[[Path], None], tmp_path):
    path = tmp_path / "w.safetensors"
    write(path)

    with pytest.raises(UnsafeFileError, match="pickle or NumPy file, which could run code; save the weights as"):
        read_tensors(path)


def test_an_old_pickle_without_a_mark_is_refused(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    with pytest.raises(UnsafeFileError, match="not a safetensors file"):
        parse_tensors(pickle.dumps(Trap(), protocol=0), where="w")
    assert not ran.exists()


@pytest.mark.parametrize("length", range(0, len(SMALL), 3))
def test_a_truncated_file_is_refused(length):
    with pytest.raises(UnsafeFileError, match="give another file"):
        parse_tensors(SMALL[:length], where="w")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 1) + b"{",
        with_header(b"[]"),
        with_header(b"null"),
        with_header(b"12"),
        with_header(b"\xff\xff"),
        with_header(b"[" * 100_000),
        with_header(b'{"a": ' + b"9" * 5000 + b"}"),
        with_header({"a": 3}),
        with_header({"__metadata__": 3}),
        with_header({"a": entry(shape=None)}, bytes(4)),
        with_header({"a": entry(shape=[-1])}, bytes(4)),
        with_header({"a": entry(shape=[1.0])}, bytes(4)),
        with_header({"a": entry(shape=[True])}, bytes(4)),
        with_header({"a": entry(shape=[2])}, bytes(4)),
        with_header({"a": entry(shape=[2**62])}, bytes(4)),
        with_header({"a": entry(shape=[0, 2**62], data_offsets=[0, 0])}),
        with_header({"a": entry(shape=[0, 2**20, 2**20], data_offsets=[0, 0])}),
        with_header({"a": entry(data_offsets=[0, 400])}, bytes(4)),
        with_header({"a": entry(data_offsets=[4, 0])}, bytes(4)),
        with_header({"a": entry(), "b": entry()}, bytes(4)),
        with_header({"a": entry(dtype="F8_E4M3", shape=[4])}, bytes(4)),
        with_header({"a": entry(dtype="OBJECT")}, bytes(4)),
        with_header({"a": entry(dtype=["F32"])}, bytes(4)),
        with_header({"a": entry()}, bytes(5)),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(data):
    with pytest.raises(UnsafeFileError, match="give another file"):
        parse_tensors(data, where="w")


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}',
        b'{"__metadata__":{"k":"1","k":"2"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    ],
)
def test_a_header_that_names_a_key_twice_is_refused(header):
    with pytest.raises(UnsafeFileError, match="the header names a key twice"):
        parse_tensors(with_header(header, bytes(4)), where="w")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/b", "a\\b", "..", ".a", "a\nb", "", "a" * 97, "é"])
def test_a_tensor_whose_name_could_be_a_path_is_refused(name):
    with pytest.raises(UnsafeFileError, match="is not allowed"):
        parse_tensors(save({name: torch.ones(1)}), where="w")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(value, dtype):
    with pytest.raises(UnsafeFileError, match="a holds values that are not finite"):
        parse_tensors(save({"a": torch.tensor([1.0, value], dtype=dtype)}), where="w")


def test_complex_weights_are_refused():
    with pytest.raises(UnsafeFileError, match="tensor a is not of type"):
        parse_tensors(save({"a": torch.tensor([complex(float("nan"), 0)])}), where="w")


# Damage of any kind


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of a file: bytes flipped, cut out, put in, or all of it replaced."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "end", "replace"]))
    place = draw(st.floats(0, 1, exclude_max=True))
    bytes_ = draw(st.binary(min_size=1, max_size=12))

    def change(data: bytes) -> bytes:
        at = int(place * len(data))
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ (bytes_[0] or 1)]) + data[at + 1 :]
        if kind == "cut":
            return data[:at] + data[at + len(bytes_) :]
        if kind == "insert":
            return data[:at] + bytes_ + data[at:]
        return data[:at] if kind == "end" else bytes_

    return change


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole") / "model"
    write_checkpoint(folder, tensors=TENSORS, meta=META_VALUE)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.sampled_from([MANIFEST, META, WEIGHTS]), damage())
def test_a_damaged_checkpoint_is_refused_or_read_as_it_was(whole, name, change):
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for file, data in whole.items():
            (folder / file).write_bytes(change(data) if file == name else data)

        try:
            tensors, meta = read_checkpoint(folder)
        except UnsafeFileError:
            return

    assert are_equal(tensors, TENSORS)
    assert meta == META_VALUE


@given(damage())
def test_damaged_weights_are_refused_or_read_as_finite_numbers(change):
    try:
        tensors = parse_tensors(change(SMALL), where="w")
    except UnsafeFileError:
        return

    for tensor in tensors.values():
        assert bool(torch.isfinite(tensor).all())


@given(st.binary(max_size=200))
def test_any_bytes_as_a_header_are_refused_or_read(header):
    with contextlib.suppress(UnsafeFileError):
        parse_tensors(with_header(header), where="w")
