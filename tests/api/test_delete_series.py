"""The endpoint that deletes series refuses what would delete everything by accident."""

from __future__ import annotations

from typing import Any

import pytest


class Admin:
    """Remembers what it was to delete."""

    def __init__(self) -> None:
        self.asked: list[list[list[str]]] = []

    async def delete_series(self, selectors: Any, *_: int) -> int:
        self.asked.append([[str(matcher) for matcher in each] for each in selectors])
        return 3


@pytest.mark.parametrize(
    ("selector", "status"),
    [("{}", 400), ('{job=""}', 400), ('{job=~".*"}', 400), ('{__name__=~".+"}', 200), ('{job="a"}', 200)],
)
async def test_a_selector_that_may_match_everything_says_so(
    make_api: Any, selector: str, status: int
) -> None:
    admin = Admin()
    api = make_api(admin=admin, admin_allowed=True)
    answer = await api.form("/api/v1/admin/tsdb/delete_series", **{"match[]": selector})
    assert answer.status == status, answer.json
    assert len(admin.asked) == (status == 200)
