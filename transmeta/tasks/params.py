"""Reads the parameters of a task, strictly."""

import difflib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from transmeta.core.task import Params
from transmeta.errors import ConfigError, DataError

NAME_LENGTH: Final = 64


def check_keys(params: Params, *, known: Collection[str], provider: str) -> None:
    """Checks that `params` holds nothing but `known` keys.

    Raises:
        ConfigError: for another key, with the nearest known one.
    """
    for key in params:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(sorted(known)) or 'none'}"
            raise ConfigError(f"task provider {provider}: unknown parameter {key!r}; {hint}")


def text_of(params: Params, key: str, *, provider: str) -> str:
    """Returns the text at `key`.

    Raises:
        ConfigError: if it is missing, empty or not text.
    """
    if key not in params:
        raise ConfigError(f"task provider {provider}: the parameter {key!r} is missing; add it")
    value = params[key]
    if not isinstance(value, str) or not value:
        raise ConfigError(f"task provider {provider}: {key} = {value!r} is not a text; correct it")
    return value


def path_of(params: Params, *, provider: str) -> Path:
    """Returns the absolute path at `path`, which exists.

    Raises:
        ConfigError: if the parameter is missing or not text.
        DataError: if there is nothing at the path.
    """
    return existing(text_of(params, "path", provider=provider))


def existing(path: str | Path) -> Path:
    """Returns `path` in absolute form, `~` expanded, so that a worker in another folder finds the same data.

    Raises:
        DataError: if there is nothing at the path, or it may not be looked at.
    """
    if "\0" in str(path):
        raise DataError(f"the path {str(path)!r} holds a NUL character; correct it")
    absolute = Path(os.path.abspath(Path(path).expanduser()))
    try:
        absolute.stat()
    except OSError as error:
        raise DataError(f"{absolute}: {error.strerror or error}; check the path") from error
    return absolute


def slug(text: str, *, default: str) -> str:
    """Returns `text` as a name that is safe in files and URLs; `default` if nothing of it is left."""
    cleaned = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")
    return cleaned[:NAME_LENGTH].rstrip("-._") or default
