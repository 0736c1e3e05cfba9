import dataclasses

import pytest

from transmeta.config import load_config
from transmeta.errors import ConfigError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    rounds: int
    names: tuple[str, ...] = ()


def write(folder, text):
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_as_the_dataclass(tmp_path):
    path = write(tmp_path, 'rounds = 3\nnames = ["a", "b"]\n')

    assert load_config(Settings, path) == Settings(rounds=3, names=("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rouds = 3", "did you mean 'rounds'"),
        ("rounds = 'three'", "not a int"),
        ("", "'rounds' is missing"),
        ("rounds = ", "not TOML"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as raised:
        load_config(Settings, write(tmp_path, text))
    assert "settings.toml" in str(raised.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(Settings, tmp_path / "none.toml")
