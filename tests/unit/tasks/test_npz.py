"""Foreign .npz files are read without running code and refused by name."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from transmeta.errors import DataError, UnsafeFileError
from transmeta.tasks.npz import read_npz


def test_plain_arrays_are_read(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), y=np.array(["a", "b"]))

    arrays = read_npz(tmp_path / "a.npz", required=("x",), optional=("y", "z"))

    assert arrays["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert sorted(arrays) == ["x", "y"]


def test_a_missing_array_is_named(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))

    with pytest.raises(DataError, match="no array 'y'; it holds x"):
        read_npz(tmp_path / "a.npz", required=("x", "y"))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.npz: no such file"):
        read_npz(tmp_path / "gone.npz", required=("x",))


def test_pickled_objects_are_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))

    with pytest.raises(UnsafeFileError, match="pickled objects"):
        read_npz(tmp_path / "a.npz", required=("x",))


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\x93NUMPY\x01\x00", b"not a zip at all"])
def test_what_is_no_npz_is_refused_by_its_content(tmp_path: Path, content: bytes):
    (tmp_path / "a.npz").write_bytes(content)

    with pytest.raises(UnsafeFileError, match=r"not an \.npz file"):
        read_npz(tmp_path / "a.npz", required=("x",))


def test_a_torn_file_is_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.arange(1000))
    whole = (tmp_path / "a.npz").read_bytes()

    for length in (10, 100, len(whole) - 30):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        with pytest.raises(UnsafeFileError, match="cannot be read"):
            read_npz(tmp_path / "a.npz", required=("x",))


def test_a_shape_beyond_the_file_is_refused_before_memory_is_taken(tmp_path: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())

    with pytest.raises(UnsafeFileError, match="does not fit"):
        read_npz(tmp_path / "a.npz", required=("x",))


def test_a_member_that_is_no_array_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"import os")

    with pytest.raises(UnsafeFileError, match="array 'x' cannot be read"):
        read_npz(tmp_path / "a.npz", required=("x",))
