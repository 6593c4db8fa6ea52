from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metricsmith.config import load_text
from metricsmith.config.load import Configuration
from metricsmith.errors import ConfigError


@pytest.fixture
def load() -> Callable[..., Configuration]:
    """Load a text as m.yaml, by default with an empty environment."""
    return lambda text, environment=None: load_text(text, "m.yaml", environment or {})


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Load a text that cannot be used and return what is told of it."""

    def told(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, "m.yaml", environment or {})
        return [str(problem) for problem in caught.value.problems]

    return told


@pytest.fixture
def seed_002() -> str:
    """The document whose configuration file must load unchanged; it lies beside the repository."""
    folder = Path(__file__).parents[3] / "shared" / "seeds"
    found = sorted(folder.glob("002_*.txt"))
    if not found:
        pytest.skip("the seed documents are not beside this clone")
    return found[0].read_text(encoding="utf-8")
