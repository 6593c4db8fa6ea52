"""Sinks as their pages set them up take the commands of these pages; the server speaks as the real ones."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metricsmith.testing.far_end import FarEnd
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import Terminal, steps

Make = Callable[..., AgentProgram]
DOCS = Path(__file__).parents[2] / "docs"
ADDRESSES = {
    "influxdb.md": {"http://influx.example.com:8086": "{url}", "https://cloud.example.com": "{url}"},
    "newrelic.md": {
        "- type: newrelic": '- type: newrelic\n    endpoint: "{url}/metric/v1"\n    event_endpoint: "{url}"'
    },
    "otlp.md": {"http://127.0.0.1:4318": "{url}"},
    "remote-write.md": {"https://mimir.example.com/api/v1/push": "{url}/write1"},
}
"""What stands for the addresses of each page."""
SECRETS = {"INFLUX_PASSWORD": "p", "NEW_RELIC_LICENSE_KEY": "a-licence-key"}


def at(page: str, url: str, secrets: Path) -> str:
    """Return the sinks of a page, at a server that is here, in the form that AgentProgram fills in."""
    (text,) = [block for block in _blocks(page, "yaml") if block.startswith("sinks:")]
    for there, here in ADDRESSES[page].items():
        assert there in text, there
        text = text.replace(there, here.format(url=url))
    for name in re.findall(r"/run/secrets/(\w+)", text):
        (secrets / name).write_text("secret")
    return text.replace("/run/secrets", str(secrets)).replace("{", "{{").replace("}", "}}")


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def far() -> Iterator[FarEnd]:
    """The server, in a thread of its own: commands run in this one."""
    server, loop = FarEnd(free_port(), lambda: time.time_ns() // 1_000_000), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("page", ADDRESSES)
def test_a_page_s_sinks_take_what_its_commands_send(
    page: str, agent_program: Make, far: FarEnd, tmp_path: Path
) -> None:
    agent = agent_program("\n" + at(page, far.url, tmp_path))
    agent.environment = SECRETS
    agent.start()
    terminal = Terminal(tmp_path, {}, agent.url)
    typed = [command for block in _blocks(page, "console") for command, _ in steps(block)]
    assert any(command.startswith("metricsmith sink test ") for command in typed)
    for command in typed:
        code, said = terminal.run(command)
        assert code == 0, said
        assert ": taken in " in said or "sink list" in command, said
    assert agent.stop() == 0
