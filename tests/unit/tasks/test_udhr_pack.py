"""Languages as a pack: a table of hashed n-grams, made by the benchmark's builder."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from transmeta.core.task import Modality
from transmeta.errors import DataError
from transmeta.tasks.pack import PackTasks
from transmeta.tasks.pool import TABLE

source = PackTasks()
FOLDER = Path(__file__).parents[3] / "benchmarks" / "meta_dataset"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_udhr", FOLDER / "build_udhr.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_pack(builder, folder: Path) -> None:
    declarations = folder / "declaration"
    declarations.mkdir()
    for code, word in (("abc", "salut"), ("abd", "hola"), ("xyz", "terve")):
        items = "".join(f"<p>{word} number {number}, and so on and on</p>" for number in range(20))
        (declarations / f"{code}.html").write_text(f"<body><p>short</p>{items}<li>{word}, said in a <b>list</b></li>")
    groups = {"near": ["abc", "abd"], "far": ["xyz", "abc"]}
    np.savez(folder / "udhr1024.npz", **builder.pack(declarations, groups))


def test_blocks_are_paragraphs_and_items_without_tags_short_and_equal_ones(builder):
    page = "<h1>a heading</h1><p>twice the same sentence</p><li>an item of a <i>list</i> &amp; more</li>"

    found = builder.blocks(page + "<p>too short</p><p>twice the same sentence</p>")

    assert found == ("twice the same sentence", "an item of a list & more")


def test_counts_are_the_same_in_every_process_and_count_all_n_grams(builder):
    counts = builder.counts("Ab")

    assert counts.shape == (1024,)
    assert counts.sum() == 4 + 3 + 2
    assert np.flatnonzero(counts).tolist() == [109, 352, 488, 579, 786, 837, 915, 1017]


def test_a_group_of_languages_is_a_table_in_the_domain_text(builder, tmp_path: Path):
    write_pack(builder, tmp_path)

    task = source.describe({"path": str(tmp_path), "task": "udhr-near"}, shots=3)
    data = source.load(task)

    assert (task.domain, task.dataset, task.modality, task.shape) == ("text", "udhr-near", Modality.TABULAR, (1024,))
    assert data.class_names == ("abc", "abd")
    assert data.train.x.shape == (6, 1024)
    assert data.train.x.dtype == np.float32
    assert np.allclose((data.train.x**2).mean(axis=1), 1.0, atol=1e-5)
    assert data.train.x.ndim == TABLE


def test_images_are_no_languages(tmp_path: Path):
    np.savez(
        tmp_path / "udhr1024.npz", x=np.zeros((4, 32, 32), np.uint8), y=np.zeros(4, np.int16),
        language=np.array(["abc"]), group=np.array(["near"]),
    )  # fmt: skip

    with pytest.raises(DataError, match="not counts of n-grams"):
        source.describe({"path": str(tmp_path), "task": "udhr-near"})
