"""A real agent as a program of its own: started, asked over HTTP, killed or stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

from metricsmith.testing.services import free_port

LIMIT_S = 60.0
Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, errors too."""

    status: int
    headers: Message[str, str]
    text: str


@dataclass
class AgentProgram:
    """An agent started from a configuration text; `{port}` and `{data}` in it are filled in.

    `environment` is what it finds besides, variables of its own among them.
    """

    folder: Path
    config: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Log = field(default_factory=lambda: Log())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config_file(self) -> Path:
        return self.folder / "metricsmith.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write_config(self, config: str) -> None:
        """Change the configuration file; a running agent is not told."""
        self.config_file.write_text(config.format(port=self.port, data=self.data))

    def start(self) -> None:
        """Start and return when the agent says on its log that it listens."""
        self.launch()
        self.log.wait_for("listens on")

    def launch(self) -> None:
        """Start and return at once."""
        self.write_config(self.config)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("METRICSMITH")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metricsmith", "run", "-c", str(self.config_file)],
            stderr=subprocess.PIPE,
            env=environment | dict(self.environment),
        )
        self.log = Log()
        self.log.follow(self.process)

    def run_to_end(self) -> tuple[int, str]:
        """Start an agent that is expected to end by itself; return its exit code and log."""
        self.launch()
        code = self.wait()
        return code, self.log.text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code once the agent has ended."""
        assert self.process is not None
        code = self.process.wait(LIMIT_S)
        self.log.close()
        self.process = None
        return code

    def kill(self) -> None:
        """Kill it: no handler runs."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it in order and return its exit code."""
        self.send(number)
        return self.wait()

    def ask(self, path: str, body: bytes | None = None, content_type: str = "application/json") -> Answer:
        """Return what a GET, or a POST of `body`, is answered with; a refusal is an answer too.

        Raises:
            OSError: nobody answers, or not to the end.
        """
        request = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": content_type})
        try:
            with _open(request) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except http.client.HTTPException as broken:
            raise ConnectionError(f"the answer broke off: {broken!r}") from broken

    def get(self, path: str, **parameters: str) -> Any:
        """Return the JSON of a page; a refusal fails the test with its text."""
        answer = self.ask(f"{path}?{urllib.parse.urlencode(parameters)}")
        assert answer.status == 200, f"{path} {parameters}: {answer.status} {answer.text}"
        return json.loads(answer.text)

    def post(self, path: str, body: Any) -> Answer:
        """Send JSON."""
        return self.ask(path, json.dumps(body).encode())

    def push(
        self, metrics: Mapping[str, float], time_ms: int | None = None, service: str = "pusher"
    ) -> Answer:
        """Send one message of a service, at a time or now."""
        message: dict[str, Any] = {"service": service, "metrics": metrics}
        if time_ms is not None:
            message["timestamp"] = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
        return self.post("/api/v1/metrics", message)

    def query(self, expression: str, time_s: float | None = None) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        parameters = {"query": expression} | ({} if time_s is None else {"time": repr(time_s)})
        result: list[dict[str, Any]] = self.get("/api/v1/query", **parameters)["data"]["result"]
        return result

    def value(self, expression: str) -> float:
        """Return the value of an expression that gives one series."""
        (found,) = self.query(expression)
        return float(found["value"][1])

    def samples(self, selector: str, window: str = "4h") -> list[tuple[int, float]]:
        """Return (ms, value) of the one series of a selector, as kept; nothing when there is no series."""
        found = self.query(f"{selector}[{window}]")
        assert len(found) <= 1, f"{selector} names {len(found)} series"
        return [(round(t * 1000), float(v)) for series in found for t, v in series["values"]]

    def own(self, name: str, **labels: str) -> float:
        """Return one of the agent's own metrics as /metrics shows it now; 0 when it is not there."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        for line in self.ask("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(pair in series for pair in wanted):
                return float(value)
        return 0.0


def _open(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=LIMIT_S)
    except urllib.error.HTTPError as refusal:
        return refusal


class Log:
    """The lines that an agent logs, read as they come, so that its pipe never fills."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Read a process' standard error until it ends."""
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def wait_for(self, text: str) -> str:
        """Return the first line with a text, once it is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._find(text) is not None, LIMIT_S)
            found = self._find(text)
            how = "at its end" if self._ended else f"after {LIMIT_S:g} s"
            assert found is not None, f"not logged {how}: {text!r}, but:\n" + "".join(self._lines)
            return found

    def text(self) -> str:
        """Return all that was logged so far."""
        with self._changed:
            return "".join(self._lines)

    def close(self) -> None:
        """Return when the last line has been read."""
        if self._thread is not None:
            self._thread.join()

    def _find(self, text: str) -> str | None:
        return next((line for line in self._lines if text in line), None)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                with self._changed:
                    self._lines.append(line.decode(errors="replace"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def eventually(ask: Callable[[], Answered], within_s: float = LIMIT_S) -> Answered:
    """Return the first true answer of `ask`; the last answer is named when none comes in time."""
    deadline, pause_s = time.monotonic() + within_s, 0.02
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {within_s:g} s"
        time.sleep(pause_s)  # a program of its own tells nobody: it is asked
        pause_s = min(pause_s * 1.2, 0.2)  # what takes long is not held up by questions
    return answer
