"""Which rule files are good: `promtool check rules` and we agree, but for what is written down here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from metricsmith.rules.files import read_rule_file
from metricsmith.runtime.rule_engine import RuleEngine

RULES = """\
{record: a, expr: b}
{record: 'a:b:c', expr: 1}
{record: a, expr: 1.5e3}
{record: a, expr: 0x1F}
{record: a, expr: Inf}
{record: a, expr: -b}
{record: a, expr: 'b[5m]'}
{record: a, expr: '"text"'}
{record: a, expr: 'sum(b'}
{record: a, expr: ''}
{record: a, expr: }
{record: a}
{record: '', expr: b}
{record: 'a b', expr: c}
{record: 'a{b="c"}', expr: d}
{record: 5, expr: b}
{record: a, expr: b, for: 1m}
{record: a, expr: b, annotations: {c: d}}
{record: a, expr: b, keep_firing_for: 1m}
{record: a, expr: b, labels: {c: d, e: '{{ not a template'}}
{record: a, expr: b, labels: {c: 5, d: true, e: , f: 1.50, g: 2020-01-01}}
{record: a, expr: b, labels: {__name__: c}}
{record: a, expr: b, labels: {'c d': e}}
{record: a, expr: b, labels: {c: [d]}}
{record: a, expr: b, labels: {c: {d: e}}}
{record: a, expr: b, labels: [c]}
{record: a, expr: b, labels: }
{record: a, expr: b, unknown: c}
{record: a, alert: b, expr: c}
{expr: a}
{}
5
{alert: a, expr: b}
{alert: 'a b', expr: c}
{alert: 'ä', expr: c}
{alert: '', expr: c}
{alert: a, expr: b, for: 5m, labels: {c: d}, annotations: {e: f}}
{alert: a, expr: b, for: 0}
{alert: a, expr: b, for: 0s}
{alert: a, expr: b, for: 1h30m}
{alert: a, expr: b, for: 1.5h}
{alert: a, expr: b, for: 5}
{alert: a, expr: b, for: 30m1h}
{alert: a, expr: b, for: -5m}
{alert: a, expr: b, for: ''}
{alert: a, expr: b, for: }
{alert: a, expr: b, for: 1y2w3d4h5m6s7ms}
{alert: a, expr: b, keep_firing_for: 5m}
{alert: a, expr: b, labels: {alertname: c}}
{alert: a, expr: b, labels: {__name__: c}}
{alert: a, expr: b, labels: {c: '{{ $value }}'}}
{alert: a, expr: b, labels: {c: '{{ $nope }}'}}
{alert: a, expr: b, annotations: {c: '{{ nope }}'}}
{alert: a, expr: b, annotations: {c: '{{ if }}'}}
{alert: a, expr: b, annotations: {c: '{{ query "up" | first | value }}'}}
{alert: a, expr: b, annotations: {c: '{{ $value.nothing }}'}}
{alert: a, expr: b, annotations: {'c d': e}}
{alert: a, expr: b, annotations: {c: "${HOME} $1 %s"}}
{alert: a, expr: 'b > 1 and on (c) d unless e offset 5m'}
{alert: a, expr: 'absent(b)'}
{alert: a, expr: time() > 5}
""".splitlines()
FILES = [
    "",
    "groups:",
    "groups: []",
    "groups: {}",
    "group: []",
    "- groups",
    "groups: [{name: a}]",
    "groups: [{name: a, rules: }]",
    "groups: [{name: a, rules: {}}]",
    "groups: [{rules: []}]",
    "groups: [{name: ''}]",
    "groups: [{name: a}, {name: a}]",
    "groups: [{name: a}, {name: b}]",
    "groups: [{name: 5}]",
    "groups: [{name: a, interval: 1m, limit: 5}]",
    "groups: [{name: a, interval: 0s}]",
    "groups: [{name: a, interval: 5}]",
    "groups: [{name: a, limit: x}]",
    "groups: [{name: a, limit: 1.5}]",
    "groups: [{name: a, unknown: x}]",
    "groups: [{name: a, name: b}]",
    "groups: [{name: a",
    "groups:\n- &a {name: a}\n- {<<: *a, name: b}",
    "x: &r {record: a, expr: b}\ngroups: [{name: a, rules: [*r]}]",
    "groups:\n\t- name: a",
    "\ufeffgroups: []",
    "# nothing",
    "--- \ngroups: []",
]
OTHERWISE = {
    "{record: 5, expr: b}": "version 2 refuses it, version 3 takes any name",
    "{record: a, expr: 'b[5m]'}": "they tell it at each evaluation only",
    "{record: a, expr: '\"text\"'}": "they tell it at each evaluation only",
    "groups: [{name: a, limit: 1.5}]": "they cut it to 1",
}
"""Files of which we think otherwise, each with the reason."""


def test_the_same_files_are_good(tmp_path: Path, promtool: Path) -> None:
    texts = [*(f"groups:\n- name: g\n  rules:\n  - {rule}\n" for rule in RULES), *FILES]
    names = [*RULES, *FILES]
    paths = [tmp_path / f"{index}.yml" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    command = [promtool, "check", "rules", "--lint=none", *paths]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    theirs = {
        Path(name).name: "SUCCESS" in rest for name, rest in _outcomes(said.stdout + said.stderr, paths)
    }
    different = []
    for path, name in zip(paths, names, strict=True):
        problems = read_rule_file(str(path), RuleEngine(), 60_000).problems
        if ((not problems) != theirs[path.name]) != (name in OTHERWISE):
            different.append(f"{name}: ours {[*map(str, problems)]}, theirs {theirs[path.name]}")
    assert not different, "\n".join(different)


def _outcomes(said: str, paths: list[Path]) -> list[tuple[str, str]]:
    parts = re.split(r"Checking (\S+)\n", said)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))
