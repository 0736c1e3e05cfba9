"""The frame of all commands: help, version, exit codes, interruptions."""

import json
import subprocess
import sys
import time

import pytest

from transmeta import __version__, cli
from transmeta.errors import ConflictError, InfeasibleError, NoValidTrialError, UnavailableError, UnsafeFileError

from .cases import Run

HEAVY = ("torch", "ray", "numpy", "sklearn", "sqlalchemy", "ConfigSpace", "pandas", "pyarrow", "rich", "PIL", "psutil")
NAMES = [command.__name__.replace("_", "-") for command in cli.COMMANDS]
JOBS = ("submit", "status", "stop")
LOADED = "import sys, json; print(json.dumps([name for name in sys.modules if '.' not in name]), file=sys.stderr)"


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    program = f"from transmeta.cli import main; main(['--help']); {LOADED}"
    seconds = []
    for _ in range(4):
        started_s = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started_s)

    assert min(seconds) < 0.5, seconds
    assert not {*HEAVY} & {*json.loads(done.stderr)}


def test_importing_transmeta_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import transmeta; {LOADED}"], capture_output=True, text=True, check=True
    )

    assert not {*HEAVY, "typer"} & {*json.loads(done.stderr)}


def test_every_command_is_listed_whole_with_the_exit_codes(run: Run) -> None:
    outcome = run("--help")

    assert outcome.code == 0
    assert all(f"\n  {name} " in outcome.out for name in [*NAMES, "experience"])
    assert all(f"{code} " in outcome.out for code in (0, 1, 2, 3, 4, 5, 6, 75, 130))
    assert run().out == outcome.out


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if name not in JOBS] + [f"experience {n}" for n in ("stats", "export", "import", "verify")],
)
def test_the_help_of_a_command_teaches_by_an_example(run: Run, name: str) -> None:
    outcome = run(*name.split(), "--help")

    text = " ".join(outcome.out.split())
    assert outcome.code == 0
    assert f"Example: transmeta {name}" in text


@pytest.mark.parametrize("name", JOBS)
def test_the_commands_for_jobs_have_a_help(run: Run, name: str) -> None:
    assert run(name, "--help").code == 0


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").out == f"transmeta {__version__}\n"


def test_an_unknown_command_is_one_line(refused: Run) -> None:
    outcome = refused("adopt")

    assert outcome.code == 2
    assert "adopt" in outcome.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(NoValidTrialError, 3), (InfeasibleError, 4), (UnsafeFileError, 5), (ConflictError, 6), (UnavailableError, 75)],
)
def test_an_error_becomes_one_line_and_its_exit_code(
    refused: Run, monkeypatch: pytest.MonkeyPatch, error: type[Exception], code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("the first line\n  and the second; do this")

    monkeypatch.setattr("transmeta.tasks.catalogue.packaged_tasks", fail)

    outcome = refused("ls", "tasks")

    assert outcome.code == code
    assert outcome.err == "error: the first line and the second; do this\n"


def test_an_interruption_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transmeta.tasks.catalogue.packaged_tasks", interrupt)

    outcome = run("ls", "tasks")

    assert outcome.code == 130
    assert "run the same command again" in outcome.err


def test_an_unexpected_error_shows_where_it_came_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("our fault")

    monkeypatch.setattr("transmeta.tasks.catalogue.packaged_tasks", break_down)

    with pytest.raises(ZeroDivisionError, match="our fault"):
        run("ls", "tasks")
