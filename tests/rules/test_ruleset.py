"""Many rule files: names and globs, and that a bad file never replaces a good one."""

from __future__ import annotations

import os
from pathlib import Path

from metricsmith.rules.ruleset import RuleSet, load_rules
from metricsmith.runtime.rule_engine import RuleEngine

ENGINE = RuleEngine()
GOOD = "groups: [{name: %s, rules: [{record: a, expr: b}, {record: c, expr: d}]}]"
BAD = "groups: [{name: %s, rules: [{record: a, expr: b}, {record: c, expr: 'd +'}]}]"


def load(folder: Path, *patterns: str) -> RuleSet:
    return load_rules(patterns, ENGINE, default_interval_ms=15_000, base=folder)


def contents(rules: RuleSet) -> list[tuple[str, int]]:
    return [(group.name, len(group.rules)) for group in rules.groups]


def test_files_come_in_order_each_once(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yml", "deep/c.yml", "deep/no.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(GOOD % name[:-4].replace("/", "-"))
    rules = load(tmp_path, "b.yml", "*.yml", "**/*.yml", str(tmp_path / "deep" / "*.yml"))
    assert [Path(file.name).name for file in rules.files] == ["b.yml", "a.yml", "c.yml"]
    assert rules.problems == ()


def test_a_name_without_file_is_a_mistake_and_a_glob_without_match_is_none(tmp_path: Path) -> None:
    rules = load(tmp_path, "none.yml", "none*.yml")
    assert [str(problem) for problem in rules.problems] == [
        f"{tmp_path}/none.yml: got no such file, wanted a rule file"
    ]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.yml").mkdir()
    os.mkfifo(tmp_path / "pipe.yml")  # would be waited for without end
    (tmp_path / "large.yml").write_bytes(b"#" * (5 << 20))
    rules = load(tmp_path, "binary.yml", "folder.yml", "pipe.yml", "large.yml")
    assert [(Path(p.file).name, p.message) for p in rules.problems] == [
        ("binary.yml", "cannot be read: not UTF-8"),
        ("folder.yml", "cannot be read: not a file"),
        ("pipe.yml", "cannot be read: not a file"),
        ("large.yml", "got 4194305 characters, wanted at most 4194304"),
    ]


def test_a_bad_file_never_replaces_a_good_one(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yml").write_text(GOOD % name)
    first = load(tmp_path, "*.yml")
    (tmp_path / "b.yml").write_text(BAD % "new")
    (tmp_path / "c.yml").write_text(GOOD % "changed")
    (tmp_path / "d.yml").write_text(BAD % "d")
    second = load(tmp_path, "*.yml").keeping(first)
    assert contents(second) == [("a", 2), ("b", 2), ("changed", 2), ("d", 1)]
    assert [Path(problem.file).name for problem in second.problems] == ["b.yml", "d.yml"]
    third = load(tmp_path, "*.yml").keeping(second)
    assert contents(third) == contents(second)
    (tmp_path / "b.yml").write_text(GOOD % "repaired")
    assert contents(load(tmp_path, "*.yml").keeping(third))[1] == ("repaired", 2)


def test_a_named_file_that_is_gone_keeps_its_rules_and_one_no_longer_matched_does_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text(GOOD % name)
    first = load(tmp_path, "a.yml", "[b].yml")
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").unlink()
    second = load(tmp_path, "a.yml", "[b].yml").keeping(first)
    assert contents(second) == [("a", 2)]
    assert len(second.problems) == 1
