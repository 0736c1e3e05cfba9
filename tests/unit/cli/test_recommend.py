from pathlib import Path

from .cases import Run

CONTRACT = {
    "source",
    "strategy",
    "params",
    "predicted_score",
    "interval",
    "predicted_cost_s",
    "evidence",
    "features",
    "transfer",
}


def test_the_list_has_what_programs_are_promised(run: Run, workspace: Path, photos: Path) -> None:
    outcome = run("recommend", photos, "--count", 3, "--workspace", workspace, "--json")

    choices = outcome.json
    assert [set(choice) for choice in choices] == [CONTRACT] * 3
    assert {choice["strategy"] for choice in choices} == {"linear_probe"}
    assert all(choice["transfer"] for choice in choices)


def test_experience_speaks_for_a_choice(run: Run, workspace: Path, photos: Path) -> None:
    from transmeta.policies.files import save_policy
    from transmeta.policies.portfolio import PortfolioLearner
    from transmeta.workspace import Workspace

    opened = Workspace(folder=workspace)
    words = ("--strategies", "linear_probe,from_scratch", "--workspace", workspace, "--quiet")
    assert run("collect", "digits@3", *words).code == 0
    with opened.store() as store:
        learner = PortfolioLearner(proposer=opened.proposer(()))
        save_policy(learner.update(learner.initial(), store.read()), opened.policy_folder)

    outcome = run("recommend", photos, "--count", 1, "--workspace", workspace, "--json")
    for_people = run("recommend", photos, "--count", 1, "--workspace", workspace)

    (choice,) = outcome.json
    assert [item["target"].partition(".")[0] for item in choice["evidence"]] == ["digits"]
    assert choice["predicted_cost_s"] > 0
    assert "digits.k3" in for_people.out
    assert ("Do not transfer" in for_people.out) is not choice["transfer"]


def test_without_experience_it_says_so(run: Run, workspace: Path, photos: Path) -> None:
    (workspace / "policy" / "policy.json").unlink()

    outcome = run("recommend", photos, "--workspace", workspace)

    assert outcome.code == 0
    assert "meta-train" in outcome.out
    assert len(outcome.out.splitlines()) == 7


def test_where_there_is_no_source_it_says_so(run: Run, workspace: Path, table: Path) -> None:
    (workspace / "policy" / "policy.json").unlink()

    outcome = run("recommend", table, "--count", 1, "--workspace", workspace)

    assert "There is no source for such data" in outcome.out
    assert "Do not transfer" not in outcome.out


def test_no_choices_cannot_be_asked_for(refused: Run, workspace: Path) -> None:
    assert "give 1 or more" in refused("recommend", "digits@3", "--count", 0, "--workspace", workspace).err
