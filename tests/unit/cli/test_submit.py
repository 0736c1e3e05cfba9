"""The commands about jobs, in front of a cluster that is made up."""

import dataclasses
import json
import sys
import types
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from transmeta.cli.submit import status, stop, submit
from transmeta.errors import InputError, UnknownNameError


class Status(StrEnum):
    RUNNING = "RUNNING"
    FAILED = "FAILED"

    @property
    def is_final(self):
        return self is Status.FAILED


@dataclasses.dataclass(frozen=True)
class Job:
    status: Status = Status.FAILED
    exit_code: int | None = 3
    id: str = "transmeta-1"
    started_at: str = "2026-01-01T00:00:00+00:00"
    ended_at: str | None = None
    command: str = "python -m transmeta adapt"


class FakeJobs(types.ModuleType):
    """Stands for transmeta.execution.ray.jobs: knows one job, `known`, and how it ends."""

    def __init__(self):
        super().__init__("transmeta.execution.ray.jobs")
        self.known = None
        self.ends = Job()
        self.commands = []
        self.options = {}

    def submit(self, command, **options):
        self.commands.append(command)
        self.options = options
        return types.SimpleNamespace(id="transmeta-1", known=self.known, is_new=self.known is None)

    def follow(self, job, *, address, write):
        write("its log\n")
        if self.ends is None:
            raise KeyboardInterrupt
        return self.ends

    def status(self, job, *, address):
        return self.known or self.ends

    stop = status

    def list_jobs(self, *, address):
        return (self.ends,)


@pytest.fixture
def jobs(monkeypatch):
    fake = FakeJobs()
    package = types.ModuleType("transmeta.execution.ray")
    package.jobs = fake
    monkeypatch.setitem(sys.modules, package.__name__, package)  # so that Ray need not be there
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    return fake


app = typer.Typer()
app.command()(submit)
app.command()(status)
app.command()(stop)


@app.command()
def adapt(
    target: Annotated[str | None, typer.Argument(metavar="DATA")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="DATA")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR")] = None,
    workspace: Annotated[Path, typer.Option("--workspace")] = Path(".transmeta"),
    workers: Annotated[int | None, typer.Option("--workers")] = None,
    quiet: Annotated[bool, typer.Option("--quiet")] = False,
):
    """Stands for the real one."""


@pytest.fixture
def run(jobs, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_the_command_is_submitted_with_absolute_paths_and_resources_and_its_exit_code_comes_back(run, jobs, tmp_path):
    result = run("submit", "--address", "http://h:1", "--workers", "2", "--", "adapt", "--data", "photos", "--out", "m")

    expected = ("python", "-m", "transmeta", "adapt", "--data", f"{tmp_path}/photos", "--out", f"{tmp_path}/m")
    assert jobs.commands == [(*expected, "--workers", "2", "--workspace", f"{tmp_path}/.transmeta")]
    assert jobs.options["address"] == "http://h:1"
    assert result.exit_code == 3
    assert result.stdout == "its log\n"
    assert "started" in result.stderr


def test_data_as_an_argument_becomes_absolute_too(run, jobs, tmp_path):
    run("submit", "--", "adapt", "photos@3", "--out", "m")

    assert jobs.commands[0][3:7] == ("adapt", f"{tmp_path}/photos@3", "--out", f"{tmp_path}/m")


def test_a_job_that_is_known_says_so_and_how_to_run_it_anew(run, jobs):
    jobs.known = Job()

    result = run("submit", "--", "adapt", "--data", "digits")

    assert "FAILED with exit code 3" in result.stderr
    assert "--again runs it anew" in result.stderr
    assert result.exit_code == 3


def test_without_following_a_running_job_is_shown_and_the_exit_code_is_0(run, jobs):
    jobs.known = Job(Status.RUNNING, None)

    result = run("submit", "--no-follow", "--", "adapt", "--data", "digits")

    assert result.exit_code == 0
    assert result.stdout.startswith("transmeta-1\tRUNNING\t-\t")


def test_with_json_stdout_holds_one_document_and_the_log_goes_to_stderr(run):
    result = run("submit", "--json", "--", "adapt", "--data", "digits")

    assert json.loads(result.stdout)["job"]["exit_code"] == 3
    assert "its log" in result.stderr


def test_an_interrupt_leaves_the_job_running_and_says_how_to_end_it(run, jobs):
    jobs.ends = None

    result = run("submit", "--", "adapt", "--data", "digits")

    assert result.exit_code == 130
    assert "transmeta stop transmeta-1 --address auto" in result.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("adept", "--data", "digits"), UnknownNameError),
        (("submit", "--", "adapt"), InputError),
        (("--data", "digits"), InputError),
    ],
)
def test_what_is_no_command_for_a_cluster_is_refused_before_the_cluster_is_asked(run, jobs, words, error):
    result = run("submit", "--", *words)

    assert isinstance(result.exception, error)
    assert not jobs.commands


def test_a_slip_in_the_command_is_found_before_the_cluster_is_asked(run, jobs):
    result = run("submit", "--", "adapt", "--data", "digits", "--outt", "m")

    assert result.exit_code == 2
    assert jobs.commands == []


@pytest.mark.parametrize("words", [("adapt",), ("adapt", "digits", "--data", "photos")])
def test_data_that_is_not_given_once_is_found_before_the_cluster_is_asked(run, jobs, words):
    result = run("submit", "--", *words)

    assert isinstance(result.exception, InputError)
    assert "data" in str(result.exception)
    assert jobs.commands == []


def test_jobs_are_listed_and_ended_by_their_id(run):
    assert run("status").stdout.startswith("transmeta-1\tFAILED\t3\t")
    assert json.loads(run("stop", "transmeta-1", "--json").stdout)["jobs"][0]["status"] == "FAILED"
