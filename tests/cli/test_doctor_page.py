"""What docs/doctor.md shows is what the command prints, but for numbers and folders."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metricsmith.runtime.doctor.checks import AREAS
from metricsmith.testing.services import free_port
from metricsmith.testing.targets import running_target

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
_LINE = re.compile(r"^  (ok|warning|problem) +(\S.*?): ", re.MULTILINE)


def shapes(text: str) -> list[tuple[str, str]]:
    """Return level and subject of each line, numbers and folders as one."""
    found = [
        (level, re.sub(r"\S*/(?=data|metricsmith\.yaml)", "", about)) for level, about in _LINE.findall(text)
    ]
    # Tests may run as root, and in any file system.
    return [
        (level, re.sub(r"\d+", "0", about)) for level, about in found if about not in ("user", "file system")
    ]


def test_the_page_shows_what_is_printed(here: Callable[..., Any], tmp_path: Path) -> None:
    [settings] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    [shown] = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    with running_target("".join(f'a{{b="{n}"}} 1\n' for n in range(14))) as target:
        for port, here_instead in (("3000", target.port), ("3001", free_port()), ("9090", free_port())):
            settings = settings.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here_instead}")
        settings = settings.replace("9480", str(free_port())).replace("./data", str(tmp_path / "data"))
        (tmp_path / "metricsmith.yaml").write_text(settings)
        done = here("doctor", "-c", str(tmp_path / "metricsmith.yaml"))
    assert done.returncode == 1
    assert shapes(done.stdout) == shapes(shown)
    heads = [line for line in shown.splitlines() if re.match(r"[a-z]+(: [a-z]+)?$", line)]
    assert [line for line in done.stdout.splitlines() if re.match(r"[a-z]+(: [a-z]+)?$", line)] == heads
    assert all(f"`{area}`" in PAGE for area in AREAS)
