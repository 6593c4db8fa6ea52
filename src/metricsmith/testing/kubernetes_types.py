"""Texts and numbers as the Kubernetes API takes them, and what all of its objects have.

Source:
    Kubernetes API reference, v1.32.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ApiObject(BaseModel):
    """Whatever has fields: others than these are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


def matching(pattern: str, longest: int) -> Any:
    """Return what makes a text one that is matched as a whole, of at most so many characters."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text) or len(text) > longest:
            raise ValueError(f"got {text!r}, wanted {pattern} of at most {longest} characters")
        return text

    return AfterValidator(check)


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DnsLabel = Annotated[str, matching(_LABEL, 63)]
DnsName = Annotated[str, matching(rf"{_LABEL}(\.{_LABEL})*", 253)]
PortName = Annotated[str, matching(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?", 15)]
Key = Annotated[str, matching(rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", 317)]
LabelValue = Annotated[str, matching(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", 63)]
FileKey = Annotated[str, matching(r"[-._a-zA-Z0-9]+", 253)]
Quantity = Annotated[str, matching(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", 30)]
AbsolutePath = Annotated[str, matching(r"/[^:]*", 4096)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Labels = dict[Key, LabelValue]
Protocol = Literal["TCP", "UDP", "SCTP"]


class Metadata(ApiObject):
    """What every object is called."""

    name: DnsName
    namespace: DnsLabel | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: dict[Key, str] = Field(default_factory=dict)


class PodLabels(ApiObject):
    """The metadata of a template."""

    labels: Labels
    annotations: dict[Key, str] = Field(default_factory=dict)


class LabelSelector(ApiObject):
    """Which objects are meant; empty is all."""

    match_labels: Labels = Field(default_factory=dict)
