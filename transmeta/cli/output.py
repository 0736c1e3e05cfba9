"""What commands print: one JSON document, or tables for people; all else goes to stderr."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from transmeta.core import codec

STDOUT: Final = 1
STDERR: Final = 2
Row = Sequence[str]


@contextlib.contextmanager
def only_results_on_stdout() -> Iterator[None]:
    """Sends to stderr what libraries and their processes print during the block, so that stdout holds results only."""
    sys.stdout.flush()
    saved = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # Ray's processes inherit the handle, whatever Python's sys.stdout is
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, STDOUT)
        os.close(saved)


def print_json(value: object) -> None:
    """Prints `value` as one JSON document."""
    print(json.dumps(codec.to_json(value), indent=1, ensure_ascii=False))


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{name:<{width}}  {value}")


def print_table(columns: Row, rows: Sequence[Row]) -> None:
    """Prints a table: drawn on a terminal; elsewhere plain lines with tabs between, which other programs read."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as text: a path may hold what rich takes for markup
    Console().print(table)


def say(text: str) -> None:
    """Prints a line for people to stderr."""
    print(text, file=sys.stderr, flush=True)


def shown(value: float | None, *, digits: int = 4) -> str:
    """Returns a number for a table; `-` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def shown_params(params: object) -> str:
    """Returns hyperparameters for a table, such as `learning_rate=0.004 epochs=20`."""
    values = codec.to_json(params)
    assert isinstance(values, dict), "hyperparameters are a mapping"
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
