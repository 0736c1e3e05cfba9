import dataclasses
import enum

import pytest

from transmeta.config import load_config
from transmeta.errors import ConfigError


class Pace(enum.StrEnum):
    SLOW = "slow"
    FAST = "fast"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    name: str
    epochs: int = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    rounds: int
    names: tuple[str, ...] = ()
    share: float = 0.5
    pace: Pace = Pace.SLOW
    label: str | None = None
    sources: tuple[Source, ...] = ()


def write(folder, text):
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_as_the_dataclass(tmp_path):
    text = 'rounds = 3\nnames = ["a", "b"]\nshare = 1\npace = "fast"\n\n[[sources]]\nname = "latin"\nepochs = 9\n'

    assert load_config(Settings, write(tmp_path, text)) == Settings(
        rounds=3, names=("a", "b"), share=1.0, pace=Pace.FAST, sources=(Source(name="latin", epochs=9),)
    )


def test_what_a_file_leaves_out_is_the_default(tmp_path):
    assert load_config(Settings, write(tmp_path, "rounds = 3")) == Settings(rounds=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rouds = 3", r"settings.toml: unknown key 'rouds'; did you mean 'rounds'\?"),
        ("rounds = 3\nxyzzy = 1", "settings.toml: unknown key 'xyzzy'; known: rounds, names, share"),
        ("rounds = 3\n[[sources]]\nnam = 'a'", r"settings.toml.sources\[0\]: unknown key 'nam'; did you mean 'name'"),
        ("rounds = 'three'", "settings.toml.rounds: 'three' is not a int"),
        ("rounds = 3.0", "settings.toml.rounds: 3.0 is not a int"),
        ("rounds = true", "settings.toml.rounds: True is not a int"),
        ("rounds = 2026-11-23", "settings.toml.rounds: .* is not a int"),
        ("rounds = 3\nshare = '0.5'", "settings.toml.share: '0.5' is not a float"),
        ("rounds = 3\nshare = true", "settings.toml.share: True is not a float"),
        ("rounds = 3\nshare = nan", "settings.toml.share: nan is not finite"),
        ("rounds = 3\npace = 'fats'", "settings.toml.pace: 'fats' is not one of slow, fast"),
        ("rounds = 3\nnames = 'a'", "settings.toml.names: 'a' is not a list"),
        ("rounds = 3\nnames = ['a', 1]", r"settings.toml.names\[1\]: 1 is not a str"),
        ("", "settings.toml: the key 'rounds' is missing; add it"),
        ("rounds = 3\n[[sources]]\nepochs = 1", r"settings.toml.sources\[0\]: the key 'name' is missing"),
        ("rounds = ", "settings.toml: not TOML"),
        ("rounds = 1\nrounds = 2", "settings.toml: not TOML"),
        ("{rounds: 1}", "settings.toml: not TOML"),
        ("rounds = " + "[" * 5000 + "]" * 5000, "settings.toml: not TOML"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(Settings, write(tmp_path, text))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_bytes(b"\x80\x04\x95rounds")

    with pytest.raises(ConfigError, match=r"settings.toml: not TOML .*; correct the file"):
        load_config(Settings, path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: no such file; give the path of a .toml file"):
        load_config(Settings, tmp_path / "none.toml")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read .*; give the path of a .toml file"):
        load_config(Settings, tmp_path)
