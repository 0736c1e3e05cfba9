from pathlib import Path

import pytest

from transmeta.errors import ConfigError
from transmeta.stores.address import parse_address


@pytest.mark.parametrize("text", ["/data/x.db", "sqlite:////data/x.db"])
def test_a_file_is_named_by_its_path_or_its_url(text):
    assert parse_address(text).file == Path("/data/x.db")


def test_a_relative_path_is_one_from_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert parse_address("x.db").file == parse_address("sqlite:///x.db").file == tmp_path / "x.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_server_is_named_by_any_of_its_usual_schemes(scheme):
    address = parse_address(f"{scheme}://ada@db.example/trials")

    assert address.file is None
    assert address.url.drivername == "postgresql+psycopg"


def test_a_password_is_never_shown():
    assert str(parse_address("postgresql://ada:geheim@db.example/trials")) == (
        "postgresql+psycopg://ada:***@db.example/trials"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":memory:",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x.db?mode=ro",
        "sqlite://host/x.db",
        "mysql://ada@db.example/trials",
        "://",
        "postgresql://ada:geheim@db.example:port/trials",
        "a\0b",
    ],
)
def test_an_address_of_no_known_kind_is_refused_with_the_kinds_that_are(text):
    with pytest.raises(ConfigError, match=r"give a file name|without host or options") as caught:
        parse_address(text)

    assert "geheim" not in str(caught.value)
