"""What happens to the words of a command on their way to a cluster."""

import pytest

from transmeta.cli.remote_command import CommandShape, Kind, Place, remote_command
from transmeta.errors import InputError

ADAPT = CommandShape(
    depth=1,
    options={
        "--data": Kind.DATA,
        "--out": Kind.PATH,
        "--policy": Kind.PATH,
        "--store": Kind.STORE,
        "--label": Kind.PLAIN,
        "--table": Kind.PLAIN,
        "--quiet": Kind.FLAG,
    },
    arguments=(Kind.DATA,),
)


@pytest.fixture
def here(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "rows.csv").write_text("a,label\n1,x\n")
    return tmp_path


def moved(words, place, *, shape=ADAPT, **resources):
    return remote_command(words, shape=shape, place=place, resources=resources)


def test_data_becomes_absolute_if_it_exists_here(here):
    words = moved(["adapt", "--data", "photos", "--out", "model"], Place(here=here))

    assert words == ("adapt", "--data", f"{here}/photos", "--out", f"{here}/model")


@pytest.mark.parametrize("name", ["digits", "glyphs-grek@10", "icons"])
def test_the_name_of_a_task_stays(here, name):
    assert moved(["adapt", "--data", name], Place(here=here)) == ("adapt", "--data", name)


def test_the_name_of_a_task_wins_over_a_folder_of_that_name(here):
    (here / "digits").mkdir()

    assert moved(["adapt", "--data", "digits"], Place(here=here, is_task=lambda name: True))[2] == "digits"
    assert moved(["adapt", "--data", "./digits"], Place(here=here, is_task=lambda name: True))[2] == f"{here}/digits"


@pytest.mark.parametrize("tail", ["@10", "#greek", "#greek@3"])
def test_shots_and_the_task_in_a_folder_of_packs_stay_behind_the_path(here, tail):
    assert moved(["adapt", "--data", f"photos{tail}"], Place(here=here))[2] == f"{here}/photos{tail}"


def test_an_argument_behind_a_flag_is_data_too(here):
    assert moved(["adapt", "--quiet", "photos"], Place(here=here)) == ("adapt", "--quiet", f"{here}/photos")


def test_a_value_after_an_equals_sign_is_moved_as_well(here):
    assert moved(["adapt", "--out=model"], Place(here=here)) == ("adapt", f"--out={here}/model")


def test_a_plain_value_is_moved_only_if_it_looks_like_a_path_and_exists(here):
    words = ["adapt", "--label", "photos", "--table", "rows.csv"]

    assert moved(words, Place(here=here)) == ("adapt", "--label", "photos", "--table", f"{here}/rows.csv")
    assert moved(["adapt", "--label", "0.5"], Place(here=here))[2] == "0.5"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("trials.db", "{here}/trials.db"),
        ("sqlite:///trials.db", "sqlite:///{here}/trials.db"),
        ("sqlite:////shared/trials.db", "sqlite:////shared/trials.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_a_store_is_a_file_of_here_or_a_database_anywhere(here, given, expected):
    assert moved(["adapt", "--store", given], Place(here=here))[2] == expected.format(here=here)


def test_what_lies_in_the_folder_that_travels_is_named_relative_to_it(here):
    (here / "photos" / "cats").mkdir()
    place = Place(here=here, working_dir=here / "photos")

    words = moved(["adapt", "--data", "photos/cats", "--out", "photos/model", "--table", "rows.csv"], place)

    assert words[2] == "./cats"
    assert words[4] == f"{here}/photos/model", "results must outlive the job's directory"
    assert words[6] == f"{here}/rows.csv"


def test_links_in_a_path_stay_links(here):
    (here / "link").symlink_to(here / "photos")

    assert moved(["adapt", "--data", "link"], Place(here=here))[2] == f"{here}/link"


def test_resources_are_passed_on_before_a_double_dash(here):
    resources = {"--workers": 2, "--cpus-per-worker": None, "--gpus-per-worker": 0.5}

    words = moved(["adapt", "--", "photos"], Place(here=here), **resources)

    assert words == ("adapt", "--workers", "2", "--gpus-per-worker", "0.5", "--", f"{here}/photos")


def test_resources_given_twice_are_refused(here):
    with pytest.raises(InputError, match="--workers: given before and after --; give it once"):
        moved(["adapt", "--workers=3"], Place(here=here), **{"--workers": 2})


def test_the_workspace_is_that_of_here_unless_one_is_given(here):
    shape = CommandShape(depth=2, options={"--workspace": Kind.PATH})

    assert moved(["experience", "stats"], Place(here=here), shape=shape)[2:] == ("--workspace", f"{here}/.transmeta")
    given = moved(["experience", "stats", "--workspace", "w"], Place(here=here), shape=shape)
    assert given == ("experience", "stats", "--workspace", f"{here}/w")
