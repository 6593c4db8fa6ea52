"""A page that is shown only to who asks by a known name: see `model.host_names`."""

from __future__ import annotations

from collections.abc import Sequence

from metricsmith.model.host_names import AllowedHosts, advice
from metricsmith.sdk.export.http_server import BadRequest, Handler, Request, Response
from metricsmith.sdk.problems import Problems

MISDIRECTED = 421
SETTING = "METRICSMITH_ALLOWED_HOSTS"


class HostGuard:
    """Answers with a page, unless a web page of somebody else may have asked."""

    def __init__(self, page: Handler, listen: str, names: Sequence[str], problems: Problems) -> None:
        self._page, self._problems = page, problems
        self._allowed = AllowedHosts(listen, names)

    def __call__(self, request: Request) -> Response:
        """Return the page.

        Raises:
            BadRequest: the request asks by a name that may be an attacker's.
        """
        if host := self._allowed.refused(request.headers):
            why = advice(host, SETTING)
            self._problems.note("host", why)
            raise BadRequest(MISDIRECTED, why, "host")
        return self._page(request)
