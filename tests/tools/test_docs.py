"""The generated reference speaks of types in words, as authors of YAML files know them."""

from __future__ import annotations

import importlib.util
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, SecretStr
from pydantic.fields import FieldInfo

from metricsmith.model.settings_types import DurationMs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs", ROOT / "tools" / "docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Literal["day", "week"] | None, "one of `day`, `week`"),
        (Annotated[str, AfterValidator(str)] | None, "text"),
        (Annotated[SecretStr, AfterValidator(SecretStr)] | None, "secret"),
        (Annotated[Decimal, Field(gt=0)], "number"),
        (int | str, "whole number or text"),
        (tuple[Literal["a"], ...], "list"),
        (dict[str, str] | None, "mapping"),
        (DurationMs | None, "duration"),
    ],
)
def test_types_are_words(docs: ModuleType, annotation: Any, words: str) -> None:
    assert docs._type(FieldInfo.from_annotation(annotation)) == words


def test_a_type_without_a_word_is_an_error_and_no_page(docs: ModuleType) -> None:
    with pytest.raises(KeyError):
        docs._type(FieldInfo.from_annotation(complex))
