from pathlib import Path

from .cases import Run


def test_trials_are_ranked_by_validation(run: Run, workspace: Path, photos: Path) -> None:
    outcome = run("search", photos, "--trials", 5, "--workspace", workspace, "--json", "--quiet")

    scores = [trial["score"] for trial in outcome.json["ranked"]]
    assert outcome.json["trials"] == len(scores) == 5
    assert scores == sorted(scores, reverse=True)


def test_people_get_a_table(run: Run, workspace: Path, photos: Path) -> None:
    outcome = run("search", photos, "--trials", 2, "--workspace", workspace)

    lines = outcome.out.splitlines()
    assert lines[0].split("\t")[:4] == ["rank", "source", "strategy", "validation"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["1", "2"]
    assert len(outcome.lines) == 2


def test_a_longer_search_says_what_it_knew(run: Run, workspace: Path, photos: Path) -> None:
    words = ("search", photos, "--workspace", workspace, "--trials")
    assert run(*words, 4).code == 0

    longer = run(*words, 5)

    assert [line.partition(":")[0] for line in longer.lines] == [
        "trial 1/5",
        "4 of 5 trial(s) known already, not run again",
    ]


def test_the_same_seed_gives_the_same_trials(run: Run, workspace: Path, photos: Path, tmp_path: Path) -> None:
    words = ("search", photos, "--trials", 4, "--workspace", workspace, "--json", "--quiet")
    first = run(*words, "--store", tmp_path / "a.db").json["ranked"]
    again = run(*words, "--store", tmp_path / "b.db").json["ranked"]
    other = run(*words, "--store", tmp_path / "b.db", "--seed", 1).json["ranked"]

    keys = ("trial", "score", "status", "params")
    assert [[trial[key] for key in keys] for trial in first] == [[trial[key] for key in keys] for trial in again]
    assert {trial["trial"] for trial in first}.isdisjoint(trial["trial"] for trial in other)


def test_asha_needs_ray(refused: Run, workspace: Path, photos: Path) -> None:
    words = ("search", photos, "--trials", 2, "--workspace", workspace)

    assert "--executor tune" in refused(*words, "--scheduler", "asha", "--executor", "local").err
    assert "did you mean 'asha'" in refused(*words, "--scheduler", "ahsa").err


def test_a_dry_run_names_the_executor_that_asha_means(run: Run, workspace: Path, photos: Path) -> None:
    words = ("search", photos, "--trials", 2, "--workspace", workspace, "--dry-run", "--json")

    assert run(*words).json["executor"] == "local"
    assert run(*words, "--scheduler", "asha").json["executor"] == "tune"


def test_a_search_ends_once_nothing_is_expected_to_gain_enough(run: Run, tmp_path: Path) -> None:
    words = ("search", "digits@3", "--trials", 8, "--min-gain", 0.5, "--workspace", tmp_path)

    found = run(*words, "--json")
    whole = run(*words[:-4], "--workspace", tmp_path, "--json", "--quiet").json

    assert (found.json["trials"], found.json["is_settled"]) == (4, True)
    assert "ended after 4 trials: no other was expected to gain 0.5" in found.err
    assert (whole["trials"], whole["is_settled"]) == (8, False)


def test_a_least_gain_below_zero_is_refused(refused: Run, tmp_path: Path) -> None:
    words = ("search", "digits@3", "--trials", 8, "--workspace", tmp_path)

    assert "a least gain of -1; give 0 or more" in refused(*words, "--min-gain", -1).err
