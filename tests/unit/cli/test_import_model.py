from pathlib import Path

from .cases import Run


def test_weights_that_were_not_reviewed_are_refused_unread(refused: Run, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"\x80\x04something that could run")
    words = ("import-model", "resnet20-cifar10", "--workspace", tmp_path / "w")

    outcome = refused(*words, "--weights", tmp_path / "weights.pth")

    assert outcome.code == 5
    assert "not 02926273efb1" in outcome.err
    assert not (tmp_path / "w").exists()


def test_an_unknown_model_gets_the_nearest_name(refused: Run, tmp_path: Path) -> None:
    outcome = refused("import-model", "resnet-cifar10", "--workspace", tmp_path)

    assert "did you mean 'resnet20-cifar10'" in outcome.err
