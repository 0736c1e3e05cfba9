"""Reads a TOML file as a frozen dataclass; misspelt keys and wrong types are refused with their place."""

import tomllib
from pathlib import Path
from typing import TypeVar, cast

from transmeta.core.codec import Json, from_json
from transmeta.errors import ConfigError

T = TypeVar("T")


def load_config(kind: type[T], path: Path) -> T:
    """Returns the `kind` that the TOML file at `path` describes.

    Raises:
        ConfigError: if the file is missing, unreadable or not TOML, or has an unknown key, a missing one or a wrong
            type.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; give the path of a .toml file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML ({error}); correct the file") from error
    return from_json(kind, cast(Json, data), where=path.name)
