"""Prometheus' API of series, labels and metadata: what there is, without values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_data, json_response
from metricsmith.api.jsonout import JsonChunks, object_list
from metricsmith.api.params import MAX_TIME_MS, MIN_TIME_MS, Params, quoted, read_params
from metricsmith.api.prometheus import ERRORS, GROUP, MAX_LIMIT, TRUNCATED
from metricsmith.api.routes import NUMBER, TIME, Handler, Operation, Parameter
from metricsmith.api.schemas import NAMES, OBJECT, SERIES, Schema
from metricsmith.api.selectors import read_selectors
from metricsmith.api.workers import Workers
from metricsmith.model.matchers import Matcher

T = TypeVar("T")

_ESCAPED = re.compile(r"U__(?:[^_]|__|_[0-9A-Fa-f]{1,5}_)*", re.DOTALL)
_CODE = re.compile(r"_([0-9A-Fa-f]{1,5})?_")
_START = Parameter("start", "Begin of the range; all times when absent.", TIME)
_END = Parameter("end", "End of the range; all times when absent.", TIME)
_LIMIT = Parameter("limit", "Most elements in the answer; 0 means all.", NUMBER)
_OF_METADATA = (
    Parameter("metric", "Only this metric."),
    Parameter("limit", "Most metrics in the answer.", NUMBER),
    Parameter("limit_per_metric", "Most entries for one metric.", NUMBER),
)


def _match(required: bool) -> Parameter:
    return Parameter("match[]", "Series selector.", required=required, repeated=True)


def _list(
    path: str,
    handler: Handler,
    summary: str,
    elements: str,
    answer: Schema,
    *parameters: Parameter,
    methods: tuple[str, ...] = ("GET", "POST"),
) -> Operation:
    return Operation(
        f"/api/v1/{path}",
        methods,
        handler,
        summary,
        GROUP,
        parameters,
        answers={200: f"`data` lists {elements}.", **ERRORS},
        answer=answer,
    )


class SeriesApi:
    """Says which series, labels and metrics there are."""

    def __init__(self, context: ApiContext, workers: Workers, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._workers = workers

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        within = (_START, _END, _LIMIT)
        name = Parameter("name", "Label name.", required=True, place="path")
        return [
            _list(
                "series",
                self._series,
                "List series by their labels.",
                "label sets",
                SERIES,
                _match(True),
                *within,
            ),
            _list("labels", self._labels, "List label names.", "names", NAMES, _match(False), *within),
            _list(
                "label/{name}/values",
                self._label_values,
                "List the values of a label.",
                "values",
                NAMES,
                name,
                _match(False),
                *within,
                methods=("GET",),
            ),
            Operation(
                "/api/v1/metadata",
                ("GET",),
                self._metadata,
                "Type, unit and help of each metric.",
                GROUP,
                _OF_METADATA,
                answers={200: "`data` maps metric names to entries.", **ERRORS},
                answer=OBJECT,
            ),
        ]

    async def _series(self, request: Request) -> Response:
        params = await self._params(request)
        if not params.all("match[]"):
            raise bad_data("no match[] parameter provided")
        start_ms, end_ms = _range(params)
        limit = _limit(params)

        def find() -> list[bytes]:
            store, selectors = self._context.store, read_selectors(params)
            keys, warnings = _cut(_union(store.series(m, start_ms, end_ms) for m in selectors), limit)
            return object_list(keys, warnings)

        return JsonChunks(await self._workers.run(find))

    async def _labels(self, request: Request) -> Response:
        store = self._context.store
        return await self._names(await self._params(request), store.label_names)

    async def _label_values(self, request: Request) -> Response:
        name, store = unescape_name(request.path_params["name"]), self._context.store
        if not name:
            raise bad_data(f"invalid label name: {quoted(name)}")
        return await self._names(
            await self._params(request), lambda matchers, a, b: store.label_values(name, matchers, a, b)
        )

    async def _metadata(self, request: Request) -> Response:
        params = await self._params(request)
        wanted, limit = params.text("metric"), params.cut("limit")
        params.cut("limit_per_metric")  # each metric has one entry, so it cuts nothing
        known = await self._workers.run(self._context.store.metadata)  # a store may be another server
        names: Iterable[str] = ([wanted] if wanted in known else []) if wanted else sorted(known)
        entries = {
            name: [{"type": m.type.value, "unit": m.unit, "help": m.help}]
            for name in list(names)[:limit]
            for m in [known[name]]
        }
        return json_response({"status": "success", "data": entries})

    async def _names(
        self, params: Params, find: Callable[[Sequence[Matcher], int, int], list[str]]
    ) -> Response:
        start_ms, end_ms = _range(params)
        limit = _limit(params)

        def answer() -> Response:
            selectors = read_selectors(params) or [()]
            names, warnings = _cut(_union(find(m, start_ms, end_ms) for m in selectors), limit)
            body: dict[str, Any] = {"status": "success", "data": names}
            return json_response(body | ({"warnings": warnings} if warnings else {}))

        return await self._workers.run(answer)

    async def _params(self, request: Request) -> Params:
        return await read_params(request, self._bodies)


def unescape_name(name: str) -> str:
    """Return the label name that clients write as `U__…` in an address; another name unchanged.

    Source:
        Prometheus 3, `model.UnescapeName`: `_HEX_` is a character, `__` an underscore.

    >>> unescape_name("U__a_20_b__c"), unescape_name("U__a_"), unescape_name("a_20_b")
    ('a b_c', 'U__a_', 'a_20_b')
    """
    if not _ESCAPED.fullmatch(name):
        return name
    try:
        text = _CODE.sub(lambda m: chr(int(m[1], 16)) if m[1] else "_", name.removeprefix("U__"))
        text.encode()
    except ValueError:  # not a character
        return name
    return text


def _range(params: Params) -> tuple[int, int]:
    start_ms, end_ms = params.time_ms("start", MIN_TIME_MS), params.time_ms("end", MAX_TIME_MS)
    return start_ms, end_ms


def _limit(params: Params) -> int:
    return params.count("limit", 0, MAX_LIMIT)


def _union(found: Iterable[list[T]]) -> list[T]:
    lists = list(found)
    return lists[0] if len(lists) == 1 else sorted({x for each in lists for x in each})  # type: ignore[type-var]


def _cut(found: list[T], limit: int) -> tuple[list[T], list[str]]:
    return (found[:limit], [TRUNCATED]) if 0 < limit < len(found) else (found, [])
