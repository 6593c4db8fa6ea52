from __future__ import annotations

from collections.abc import Callable, Mapping

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
