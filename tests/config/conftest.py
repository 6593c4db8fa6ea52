from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def seed_002() -> str:
    """The document whose configuration file must load unchanged; it lies beside the repository."""
    folder = Path(__file__).parents[3] / "shared" / "seeds"
    found = sorted(folder.glob("002_*.txt"))
    if not found:
        pytest.skip("the seed documents are not beside this clone")
    return found[0].read_text(encoding="utf-8")
