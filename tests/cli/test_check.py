"""`check-config` tells what is noted beside what is wrong; `run` refuses what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_setting_of_another_storage_is_noted_and_an_unknown_storage_refused(
    here: Any, tmp_path: Path
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("storage:\n  type: embedded\n  url: http://a\n")
    checked = here("check-config", str(file))
    assert (checked.returncode, checked.stdout) == (
        0,
        f"{file}: ok (standalone; storage embedded; 0 sources, 0 processors, 0 sinks)\n",
    )
    assert checked.stderr == f'note: {file}:3: storage.url: is not used by storage of type "embedded"\n'
    file.write_text("storage:\n  type: shelf\n")
    ran = here("run", "-c", str(file))
    assert (ran.returncode, ran.stderr) == (
        3,
        f'error: {file}:2: storage.type: got "shelf", wanted one of embedded, file, influxdb, prometheus\n',
    )


def test_mistakes_in_files_of_integrations_are_mistakes_of_the_configuration(
    here: Any, tmp_path: Path
) -> None:
    bad = tmp_path / "integ.yml"
    bad.write_text("integrations:\n- name: a\n  exec: x\n  intervall: 20s\n")
    file = tmp_path / "m.yaml"
    file.write_text("sources: [{type: exec, files: integ.yml}]\n")
    checked = here("check-config", str(file))
    assert (checked.returncode, checked.stdout) == (3, "")
    assert checked.stderr.startswith(f"error: {bad}:4: integrations[0].intervall: ")


def test_mistakes_in_rule_files_are_mistakes_of_the_configuration(here: Any, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    bad = tmp_path / "rules" / "bad.yml"
    bad.write_text("groups:\n- name: a\n  rules: [{record: b, expr: sum(c}, {alert: d, exp: up}]\n")
    file = tmp_path / "m.yaml"
    file.write_text("rules: {files: [rules/*.yml, none.yml]}\n")
    checked = here("check-config", str(file))
    assert (checked.returncode, checked.stdout) == (3, "")
    alone = here("rules", "check", str(bad), str(tmp_path / "none.yml"))
    errors = [line for line in alone.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 4
    assert sorted(checked.stderr.splitlines()) == sorted(errors)


def test_rules_are_checked_for_the_interval_that_they_will_have(here: Any, tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text("groups: [{name: a, rules: [{anomaly: b, expr: c, window: 30m}]}]")
    file = tmp_path / "m.yaml"
    file.write_text("rules: {files: [r.yml], interval: 5m}\n")
    checked = here("check-config", str(file))
    assert checked.returncode == 3
    assert "wanted at least 50m" in checked.stderr
