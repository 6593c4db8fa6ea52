"""Which names a source looks at: topics, groups, disks, interfaces."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from metricsmith.contracts import PartConfig
from metricsmith.model.matchers import compile_anchored


def _pattern(value: str) -> str:
    compile_anchored(value)
    return value


Pattern = Annotated[str, Field(max_length=10_000), AfterValidator(_pattern)]


class Filter(PartConfig):
    """Which names are looked at. Patterns are RE2 and match the whole name."""

    include: Pattern = Field(".*", description="Names to look at.")
    exclude: Pattern = Field("", description="Names to leave out of those.")

    def wants(self, name: str) -> bool:
        """Return whether a name is looked at."""
        included = bool(compile_anchored(self.include).fullmatch(name))
        return included and not compile_anchored(self.exclude).fullmatch(name)
