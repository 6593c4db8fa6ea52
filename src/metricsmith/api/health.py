"""Whether the process lives, and whether it is ready: a status code for probes, reasons for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from metricsmith.api.context import ApiContext
from metricsmith.api.errors import json_response
from metricsmith.api.routes import Handler, Operation
from metricsmith.api.schemas import HEALTH, Schema
from metricsmith.model.health import Check

GROUP = "Health and status"
TEXT = "text/plain"


class HealthApi:
    """Answers probes. What may mend by itself makes the agent not ready, and is no reason to restart it."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        lives = {200: "It lives: `checks` says what is wrong.", 503: "Only a restart helps."}
        ready = {200: "Ready.", 503: "Not ready; `checks` says what is wrong."}
        return [
            page("/health", self._health, "Whether the agent lives, and how it is.", lives, answer=HEALTH),
            page("/ready", self._ready, "Whether the agent does all its work.", ready, answer=HEALTH),
            page("/-/healthy", self._healthy, "Whether the process answers.", media_type=TEXT),
            page(
                "/-/ready",
                self._ready_text,
                "The same as `/ready`, as text.",
                {200: "Ready.", 503: "Not ready; the text says why."},
                media_type=TEXT,
            ),
        ]

    async def _health(self, request: Request) -> Response:
        checks = await self._checks()
        return _answer(checks, all(each.live for each in checks))

    async def _ready(self, request: Request) -> Response:
        checks = await self._checks()
        return _answer(checks, all(each.ok for each in checks))

    async def _healthy(self, request: Request) -> Response:
        return PlainTextResponse("metricsmith is healthy.\n")

    async def _ready_text(self, request: Request) -> Response:
        if reason := _reason(await self._checks()):
            return PlainTextResponse(f"metricsmith is not ready: {reason}\n", 503)
        return PlainTextResponse("metricsmith is ready.\n")

    async def _checks(self) -> Sequence[Check]:
        checks, reason = await self._context.checks(), self._context.not_ready()
        if reason and all(each.ok for each in checks):
            return [Check("agent", False, reason), *checks]
        return checks


def page(
    path: str,
    handler: Handler,
    summary: str,
    answers: Mapping[int, str] | None = None,
    media_type: str = "application/json",
    answer: Schema | None = None,
) -> Operation:
    """Return a page that is served even while the agent starts or stops."""
    known = answers or {200: "The page."}
    return Operation(
        path,
        ("GET",),
        handler,
        summary,
        GROUP,
        answers=known,
        media_type=media_type,
        always=True,
        answer=answer,
    )


def _answer(checks: Sequence[Check], good: bool) -> Response:
    reason = _reason(checks)
    body: dict[str, object] = {"status": "unhealthy" if reason else "healthy", "ready": not reason}
    body |= {"reason": reason} if reason else {}
    body["checks"] = [
        {"name": each.name, "ok": each.ok} | ({} if each.ok else {"reason": each.reason}) for each in checks
    ]
    return json_response(body, 200 if good else 503)


def _reason(checks: Sequence[Check]) -> str:
    wrong = [each for each in checks if not each.ok]
    return "; ".join(each.reason if each.name == "agent" else f"{each.name}: {each.reason}" for each in wrong)
