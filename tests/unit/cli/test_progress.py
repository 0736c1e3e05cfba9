import sys

import pytest

from transmeta.cli.progress import progress
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import StrategySpec, TrialResult, TrialSpec, TrialStatus


@pytest.fixture
def results(digits: Task) -> list[TrialResult]:
    spec = TrialSpec(
        pair=TaskPair(source="greek-1", target=digits), strategy=StrategySpec(name="lora", params={"rank": 2}), seed=0
    )
    return [
        TrialResult(spec=spec, status=TrialStatus.COMPLETED, score=0.75, wall_s=1.25),
        TrialResult(spec=spec, status=TrialStatus.STOPPED, score=0.5, reason="stopped by the search"),
        TrialResult(spec=spec, status=TrialStatus.FAILED, reason="loss is nan"),
    ]


def test_each_trial_is_a_line_where_nobody_watches(
    results: list[TrialResult], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(total=3, is_quiet=False) as on_result:
        for result in results:
            on_result(result)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "trial 1/3: lora from greek-1 on digits: accuracy 0.7500, 1.2 s, completed",
        "trial 2/3: lora from greek-1 on digits: accuracy 0.5000, 0.0 s, stopped",
        "trial 3/3: lora from greek-1 on digits: 0.0 s, failed: loss is nan",
    ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_known_trials_are_counted_in_a_line(
    is_terminal: bool,
    results: list[TrialResult],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with progress(total=3, is_quiet=False) as on_result:
        on_result(results[0])
    capsys.readouterr()

    on_result.say_known(trials=1)
    on_result.say_known(trials=3)

    assert capsys.readouterr() == ("", "2 of 3 trial(s) known already, not run again\n")


def test_nothing_is_printed_if_quiet(results: list[TrialResult], capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=None, is_quiet=True) as on_result:
        on_result(results[0])
        on_result.say_known(trials=3)

    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_best_so_far(
    results: list[TrialResult], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with progress(total=3, is_quiet=False) as on_result:
        for result in results:
            on_result(result)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "3/3" in printed.err
    assert "best 0.7500 lora from greek-1" in printed.err
