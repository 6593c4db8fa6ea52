"""A file of another kind than a command takes is told as that, with the command for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FILES = {
    "metricsmith.yaml": "# ours\nservice: {name: a}\nsources: []\n",
    "shop.yml": "groups:\n- name: g\n  rules: [{record: a, expr: up}]\n",
    "tests.yml": "rule_files: [shop.yml]\ntests: []\n",
}
CHECKED_BY = {
    "metricsmith.yaml": ("check-config",),
    "shop.yml": ("rules", "check"),
    "tests.yml": ("rules", "test"),
}
KINDS = {"metricsmith.yaml": "configuration", "shop.yml": "rule file", "tests.yml": "file of rule tests"}
KEYS = {"metricsmith.yaml": (2, "service"), "shop.yml": (1, "groups"), "tests.yml": (2, "tests")}


@pytest.mark.parametrize("given", FILES)
@pytest.mark.parametrize("wanted", FILES)
def test_a_file_of_another_kind_is_one_line(here: Any, tmp_path: Path, given: str, wanted: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    file = tmp_path / given
    done = here(*CHECKED_BY[wanted], str(file))
    if given == wanted:
        assert done.returncode == 0
        return
    line, key = KEYS[given]
    told = (
        f"error: {file}:{line}: {key}: this looks like a {KINDS[given]}, wanted a {KINDS[wanted]} "
        f"(use metricsmith {' '.join(CHECKED_BY[given])})\n"
    )
    assert (done.returncode, done.stderr) == (3, told)


def test_one_wrong_key_in_a_file_is_an_unknown_key(here: Any, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("service: {name: a}\ngroups: []\n")
    assert here("check-config", str(file)).stderr == f"error: {file}:2: groups: unknown key\n"
