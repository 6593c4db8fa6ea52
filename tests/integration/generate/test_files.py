"""Generated files in a folder: only what differs is written, nothing of others is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.integration.generate.files import (
    Foreign,
    Generated,
    Outcome,
    header,
    lacking,
    left_over,
    stream,
    write,
)
from metricsmith.integration.generate.yaml_text import yaml_text

A, B = header("prometheus") + "a: 1\n", header("prometheus") + "b: 1\n"


def test_a_second_run_says_what_it_changed(tmp_path: Path) -> None:
    first = Generated({"a.yml": A, "rules/b.yml": B})
    assert write(first, tmp_path / "out") == {"a.yml": Outcome.CREATED, "rules/b.yml": Outcome.CREATED}
    second = Generated({"a.yml": A, "rules/b.yml": B + "# more\n", "c.yml": A})
    assert write(second, tmp_path / "out") == {
        "a.yml": Outcome.UNCHANGED,
        "rules/b.yml": Outcome.CHANGED,
        "c.yml": Outcome.CREATED,
    }
    assert (tmp_path / "out/rules/b.yml").read_text() == B + "# more\n"


def test_an_unchanged_file_is_not_written(tmp_path: Path) -> None:
    write(Generated({"a.yml": A}), tmp_path)
    (tmp_path / "a.yml").chmod(0o400)
    before = (tmp_path / "a.yml").stat()
    write(Generated({"a.yml": A}), tmp_path)
    after = (tmp_path / "a.yml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_file_of_others_is_not_replaced_and_nothing_else_is_written(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("mine: 1\n")
    with pytest.raises(Foreign, match=r"b\.yml: was not made by"):
        write(Generated({"a.yml": A, "b.yml": B}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.yml"]


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yml").mkdir()
    with pytest.raises(Foreign):
        write(Generated({"a.yml": A}), tmp_path)


def test_files_of_earlier_runs_stay_and_are_told(tmp_path: Path) -> None:
    write(Generated({"rules/a.yml": A, "rules/b.yml": B}), tmp_path)
    (tmp_path / "rules/mine.yml").write_text("mine: 1\n")
    now = Generated({"rules/a.yml": A})
    write(now, tmp_path)
    assert list(left_over(now, tmp_path)) == ["rules/b.yml"]
    assert sorted(path.name for path in (tmp_path / "rules").iterdir()) == ["a.yml", "b.yml", "mine.yml"]


def test_secrets_are_for_the_owner_alone_and_stay_as_they_were_filled_in(tmp_path: Path) -> None:
    generated = Generated({"secret.yaml": A}, private={"secret.yaml": ["password", "token"]})
    write(generated, tmp_path)
    assert (tmp_path / "secret.yaml").stat().st_mode & 0o777 == 0o600
    (tmp_path / "secret.yaml").write_text(A + "password: filled in\n")
    assert write(generated, tmp_path) == {"secret.yaml": Outcome.KEPT}
    assert "filled in" in (tmp_path / "secret.yaml").read_text()
    assert list(lacking(generated, tmp_path)) == [("secret.yaml", "token")]


def test_several_files_are_one_stream_of_documents_that_name_their_file() -> None:
    text = stream(Generated({"a.yml": A, "b.yml": B, "c.yml": A}, aside=frozenset({"c.yml"})))
    assert list(yaml.safe_load_all(text)) == [{"a": 1}, {"b": 1}]
    assert [line for line in text.splitlines() if "Source" in line] == ["# Source: a.yml", "# Source: b.yml"]
    assert stream(Generated({"a.yml": A})) == A


# How YAML 1.2 (core schema) and the YAML 1.1 of older readers decide that a plain word is no text.
WORDS = "yes no on off y n Y N true False NULL ~ = <<"
NUMBERS = "1e3 0o17 0x1F 1_000 12:30:00 08 .5 +1 -.inf .NaN 2026-11-21 1.0.0"


@pytest.mark.parametrize("word", f"{WORDS} {NUMBERS}".split())
def test_words_that_a_reader_could_take_for_something_else_are_quoted(word: str) -> None:
    assert yaml_text({"a": word}) == f'a: "{word}"\n'
    assert yaml_text({word: "a"}) == f'"{word}": a\n'


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=20), st.text() | st.integers() | st.booleans() | st.lists(st.text())))
def test_what_is_written_is_what_is_read(data: dict[str, object]) -> None:
    assert yaml.safe_load(yaml_text(data)) == data
