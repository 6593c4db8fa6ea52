"""Two servers with the same series: asking both the same, and saying how their answers differ."""

from __future__ import annotations

import http.client
import json
import math
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metricsmith.testing.promql.series import START_MS

MINUTE_MS = 60_000
RELATIVE = 1e-9
NOTHING_MORE: Mapping[str, str] = {}
Precision = Literal["exact", "close"]


@dataclass(frozen=True, slots=True)
class Question:
    """A query and when it is asked: minutes after the series begin; no step asks once.

    `precision` says how equal values must be: to the last bit, or to
    `RELATIVE`, or to `absolute` where terms may cancel.
    """

    query: str
    at: float = 20
    minutes: float = 0
    step_s: float = 0
    precision: Precision = "close"
    absolute: float = 0.0
    ordered: bool = False

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path and parameters."""
        start_s = START_MS / 1000 + self.at * 60
        parameters = {"query": self.query}
        if not self.step_s:
            return "query", parameters | {"time": f"{start_s:.3f}"}
        times = {"start": start_s, "end": start_s + self.minutes * 60, "step": self.step_s}
        return "query_range", parameters | {name: f"{value:.3f}" for name, value in times.items()}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: data, or an error."""

    status: int
    error_type: str
    error: str
    data: Any

    @property
    def refused(self) -> bool:
        """Whether it is an error."""
        return self.status != 200

    @property
    def empty(self) -> bool:
        """Whether no series or value is in it."""
        return not self.refused and not self.data["result"]


class Client:
    """One connection to a server of Prometheus' API; `more` are parameters of every query."""

    def __init__(self, url: str, more: Mapping[str, str] = NOTHING_MORE) -> None:
        self._more = more
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)

    def write(self, body: bytes) -> bool:
        """Send series by remote write; return whether they are taken, or whether to come again."""
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        status, text = self._post("/api/v1/write", body, headers)
        if status not in (204, 503):
            raise RuntimeError(f"remote write: got {status} {text[:300]!r}, wanted 204 or 503")
        return status == 204

    def ask(self, question: Question) -> Reply:
        """Return the answer to a question."""
        path, parameters = question.request()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode({**parameters, **self._more}).encode()
        status, text = self._post(f"/api/v1/{path}", body, headers)
        document = json.loads(text)
        return Reply(status, document.get("errorType", ""), document.get("error", ""), document.get("data"))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            return self._post_once(path, body, headers)
        except (ConnectionError, http.client.HTTPException):
            # The server has closed the connection while nothing was asked.
            self._connection.close()
            return self._post_once(path, body, headers)

    def _post_once(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


@dataclass(frozen=True, slots=True)
class Duel:
    """Both servers."""

    theirs: Client
    ours: Client

    def difference(self, question: Question) -> str:
        """Return what differs in the answers to a question; empty when nothing does."""
        return difference(question, self.theirs.ask(question), self.ours.ask(question))


def difference(question: Question, theirs: Reply, ours: Reply) -> str:
    """Return how our answer differs from theirs; empty when it does not."""
    if theirs.refused or ours.refused:
        if (theirs.status, theirs.error_type) == (ours.status, ours.error_type):
            return ""
        return f"theirs {_short(theirs)}, ours {_short(ours)}"
    if theirs.data["resultType"] != ours.data["resultType"]:
        return f"theirs is a {theirs.data['resultType']}, ours a {ours.data['resultType']}"
    return _of_results(question, theirs.data, ours.data)


def _short(reply: Reply) -> str:
    return f"{reply.status} {reply.error_type} {reply.error}" if reply.refused else str(reply.data)[:300]


def _of_results(question: Question, theirs: Any, ours: Any) -> str:
    if theirs["resultType"] in ("scalar", "string"):
        return _of_samples(question, "", [theirs["result"]], [ours["result"]])
    wanted, got = _by_labels(theirs), _by_labels(ours)
    if len(got) < len(ours["result"]):
        return "ours has two series with the same labels"
    if wanted.keys() != got.keys():
        missing, more = _some(wanted.keys() - got.keys()), _some(got.keys() - wanted.keys())
        return f"series: only theirs {missing}, only ours {more}"
    if (question.ordered or question.step_s) and list(wanted) != list(got):
        return f"order: theirs {_some(wanted)}, ours {_some(got)}"
    found = (_of_samples(question, labels, wanted[labels], got[labels]) for labels in wanted)
    return next(filter(None, found), "")


def _by_labels(data: Any) -> dict[str, list[Any]]:
    return {
        json.dumps(series["metric"], sort_keys=True, ensure_ascii=False): series.get("values")
        or [series["value"]]
        for series in data["result"]
    }


def _some(labels: Any) -> str:
    return "; ".join(text[:120] for text in list(labels)[:4]) or "none"


def _of_samples(question: Question, labels: str, wanted: list[Any], got: list[Any]) -> str:
    theirs, ours = dict(wanted), dict(got)
    if theirs.keys() != ours.keys():
        return f"{labels}: times only theirs {_times(theirs, ours)}, only ours {_times(ours, theirs)}"
    for time_s, text in theirs.items():
        if ours[time_s] != text and not _alike(question, text, ours[time_s]):
            return f"{labels} at {time_s}: theirs {text}, ours {ours[time_s]}"
    return ""


def _times(some: dict[float, str], others: dict[float, str]) -> list[float]:
    return sorted(some.keys() - others.keys())[:5]


def _alike(question: Question, theirs: str, ours: str) -> bool:
    # Equal numbers have equal texts; only texts that differ come here.
    try:
        wanted, got = float(theirs), float(ours)
    except ValueError:
        return False
    if wanted == got == 0:
        return True  # which zero the least of several is, the order of series decides
    if question.precision == "exact" or not (math.isfinite(wanted) and math.isfinite(got)):
        return False
    return math.isclose(wanted, got, rel_tol=RELATIVE, abs_tol=question.absolute)
