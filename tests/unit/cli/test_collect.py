import shutil
from pathlib import Path

from .cases import Run


def test_every_arm_is_tried_once_and_known_ones_cost_nothing(run: Run, workspace: Path, photos: Path) -> None:
    words = ("collect", photos, "digits@3", "--strategies", "linear_probe", "--samples", 1, "--seeds", "0,1")
    words = (*words, "--workspace", workspace)
    planned = run(*words, "--dry-run", "--json").json
    first = run(*words, "--json").json
    again, planned_again = run(*words, "--json").json, run(*words, "--dry-run", "--json").json

    assert (planned["trials"], planned["known"]) == (8, 0)  # 2 targets, 1 source, 2 settings, 2 seeds
    assert (first["trials"], first["fresh"]) == (8, 8)
    assert (again["trials"], again["fresh"]) == (8, 0)
    assert planned_again["known"] == 8
    assert [target["trials"] for target in first["targets"]] == [4, 4]
    assert again["targets"] == first["targets"]


def test_sources_can_be_chosen(run: Run, workspace: Path, photos: Path) -> None:
    words = ("collect", photos, "--workspace", workspace, "--dry-run", "--json")

    everything = run(*words).json
    scratch = run(*words, "--sources", "scratch").json

    assert everything["trials"] == 12  # each strategy once, from scratch among them
    assert scratch["trials"] == 1
    assert scratch["sources"] == ["scratch-small_cnn"]


def test_the_start_of_a_name_that_two_sources_have_is_refused(refused: Run, run: Run, workspace: Path) -> None:
    (source,) = (workspace / "models").iterdir()
    shutil.copytree(source, workspace / "models" / "greek-0")
    card = workspace / "models" / "greek-0" / "meta.json"
    card.write_text(card.read_text().replace(source.name, "greek-0"))
    words = ("collect", "digits@3", "--workspace", workspace, "--dry-run")

    outcome = refused(*words, "--sources", "greek")
    both = run(*words, "--sources", f"greek-0,{source.name}", "--json")

    assert outcome.code == 2
    assert f"ambiguous source 'greek'; give more of its name, it could be: greek-0, {source.name}" in outcome.err
    assert sorted(both.json["sources"]) == ["greek-0", source.name]


def test_scratch_is_the_model_without_weights_of_each_kind_of_data(run: Run, workspace: Path, table: Path) -> None:
    words = ("collect", "digits@3", table, "--sources", "scratch", "--workspace", workspace, "--dry-run", "--json")

    assert run(*words).json["sources"] == ["scratch-small_cnn", "scratch-mlp-4"]


def test_people_get_a_table(run: Run, workspace: Path) -> None:
    outcome = run("collect", "digits@3", "--strategies", "linear_probe", "--workspace", workspace)

    lines = outcome.out.splitlines()
    assert lines[1].startswith("digits.k3.s0")
    assert "linear_probe\tgreek-" in lines[1]
    assert lines[2].startswith("trials  1, 1 of them run now")


def test_many_trials_go_to_ray_by_default(run: Run, workspace: Path) -> None:
    words = ("collect", "digits@3", "--workspace", workspace, "--dry-run", "--json")

    assert run(*words).json["executor"] == "local"
    assert run(*words, "--samples", 5).json["executor"] == "ray"


def test_nothing_to_collect_is_refused(refused: Run, workspace: Path) -> None:
    words = ("collect", "digits@3", "--workspace", workspace)

    assert "nothing to collect" in refused(*words, "--sources", "scratch", "--strategies", "lora").err
    assert "unknown source 'latin'" in refused(*words, "--sources", "latin").err
    assert "give 0 or more" in refused(*words, "--samples", -1).err
    assert "such as 0,1,2" in refused(*words, "--seeds", "a").err
