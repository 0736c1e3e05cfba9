import copy

import pytest

from transmeta.errors import AmbiguousNameError, InputError, UnknownNameError


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("model", name="grek", known=["greek", "latin"]),
        AmbiguousNameError("model", name="icons", candidates=["icons-2", "icons-1"]),
    ],
)
def test_an_error_about_a_name_is_rebuilt_whole_where_it_travels_from_a_worker_to_its_driver(error: InputError) -> None:
    arrived = copy.copy(error)

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)


def test_an_unknown_name_gets_the_nearest_or_all() -> None:
    assert "did you mean 'greek'?" in str(UnknownNameError("model", name="grek", known=["greek", "latin"]))
    assert "known: greek, latin" in str(UnknownNameError("model", name="xyz", known=["latin", "greek"]))
    assert "known: none" in str(UnknownNameError("model", name="xyz", known=[]))


def test_an_ambiguous_name_gets_all_that_it_could_be() -> None:
    error = AmbiguousNameError("model", name="icons", candidates=["icons-2", "icons-1"])

    assert "it could be: icons-1, icons-2" in str(error)
    assert error.exit_code == 2
