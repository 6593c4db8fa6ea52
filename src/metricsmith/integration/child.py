"""The process in which a project is tested: whatever its code does, the command that asked goes on.

    python -m metricsmith.integration.child '{"folder": …}' RESULT

RESULT gets a line of JSON for each stage, and at last the report.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from metricsmith.integration.harness import Examination, Options
from metricsmith.integration.project import read_project
from metricsmith.integration.report import Report


def main() -> None:
    """Test the project that the first argument tells of, and end at once."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    with Path(sys.argv[2]).open("a", encoding="utf-8") as result:

        def tell(**line: Any) -> None:
            result.write(json.dumps(line) + "\n")
            result.flush()

        project = read_project(asked.pop("folder"))
        examination = Examination(project, Options(**asked), lambda stage: tell(stage=stage))
        checks = asyncio.run(examination.run())
        version = project.declaration.integration.version
        tell(report=Report(project.name, version, tuple(checks)).json())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of collectors that hang would keep it


if __name__ == "__main__":
    main()
