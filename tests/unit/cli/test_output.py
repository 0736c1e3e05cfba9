import os
import sys

import pytest

from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, print_table, shown, shown_params


def test_what_libraries_print_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with only_results_on_stdout():
        print("chatter of Python")
        os.write(1, b"chatter of a process\n")
    print("result")

    printed = capfd.readouterr()
    assert printed.out == "result\n"
    assert set(printed.err.splitlines()) == {"chatter of Python", "chatter of a process"}


def test_stdout_is_given_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="wrong"), only_results_on_stdout():
        raise ValueError("wrong")
    os.write(1, b"result\n")

    assert capfd.readouterr().out == "result\n"


def test_a_table_has_tabs_where_programs_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "score"), [("a", "1"), ("b", "2")])

    assert capsys.readouterr().out == "name\tscore\na\t1\nb\t2\n"


def test_a_table_is_drawn_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("name", "score"), [("[red]a", "1")])

    printed = capsys.readouterr().out
    assert "\t" not in printed
    assert "[red]a" in printed  # a text, not markup


def test_pairs_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs([("a", "1"), ("longer", "2")])

    assert capsys.readouterr().out == "a       1\nlonger  2\n"


def test_json_keeps_other_alphabets(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"class": "α"})

    assert capsys.readouterr().out == '{\n "class": "α"\n}\n'


def test_numbers_are_short() -> None:
    assert shown(None) == "-"
    assert shown(0.123456) == "0.1235"
    assert shown_params({"learning_rate": 0.00123, "epochs": 20, "schedule": "cosine"}) == (
        "learning_rate=0.00123 epochs=20 schedule=cosine"
    )
