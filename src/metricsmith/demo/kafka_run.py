"""The demo of Kafka: a broker, those who write and read, and an agent, until the time is over or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Awaitable
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console

from metricsmith.demo.kafka_players import Players
from metricsmith.demo.kafka_report import Watcher
from metricsmith.demo.kafka_story import GROUPS, STALLED_AFTER_S, TOPICS
from metricsmith.demo.programs import (
    DemoError,
    command,
    other_port,
    program,
    run_until,
    until_ready,
    url_option,
    write_config,
)
from metricsmith.demo.signals import stop_on_signal
from metricsmith.packs import rule_file
from metricsmith.runtime.http import listen
from metricsmith.testing import kafka as real
from metricsmith.testing.services import ServiceMissing

BROKER_SETTINGS = {"offsets.topic.num.partitions": "1"}
RULES_EVERY = "3s"
KILL_EVERY_S, KILL_LIMIT_S = 0.1, 2.0
ENDING = "ending …; Ctrl-C again ends at once"

CONFIG = """\
service: {{type: standalone, name: kafka-demo}}
server: {{listen: "127.0.0.1:{port}"}}
storage: {{type: embedded, path: {data}}}
rules: {{files: {rules}}}
sources:
  - type: kafka
    name: kafka
    instance: demo
    bootstrap_servers: {bootstrap}
    # Short, as are those of the rules, so that nobody waits; the defaults suit real clusters.
    interval: 1s
    log_dirs_interval: 5s
    configs_interval: 10s
    tombstones: {{mode: exact, interval: 5s}}
    history_window: 1m
    stalled_after: {stalled_after}s
"""


async def run_kafka_demo(limit_s: float | None, port: int, kafka_home: Path | None) -> None:
    """Run the demo until its time is over or a signal comes, then print what the agent says.

    Raises:
        ListenError: another program uses the port.
        DemoError: no Java or no Kafka; a program did not start, or ended by itself.
    """
    console = Console(highlight=False)
    left = contextlib.ExitStack()
    stop = stop_on_signal(partial(console.print, ENDING), partial(_end_at_once, left))
    # Now, for later the agent of another demo would answer in the place of ours.
    listen("127.0.0.1", port, other_port(port, "kafka demo", "kafka-demo")).close()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metricsmith-kafka-")))
        left.callback(shutil.rmtree, folder, ignore_errors=True)
        console.print("starting Kafka …")
        cluster = await _started(asyncio.to_thread(_start_broker, stack, folder / "kafka", kafka_home), stop)
        if cluster is None:
            return
        bootstrap = cluster.bootstrap()
        players = Players(bootstrap)
        stack.callback(players.stop)
        config = write_config(folder, _config(folder, port, bootstrap))
        async with program("run", "-c", str(config)) as agent:
            url = f"http://127.0.0.1:{port}"
            preparing = asyncio.to_thread(players.prepare)
            await asyncio.gather(until_ready(agent, url, stop), preparing)
            if not stop.is_set():
                players.start()
                _introduce(console, bootstrap, config, url, limit_s)
                watcher = Watcher(console, url)
                watching = watcher.watch(limit_s, stop, lambda: _look(cluster, players))
                await run_until(watching, {"agent": agent.wait()})
                await watcher.print_end()


async def _started(broker: Awaitable[real.Cluster], stop: asyncio.Event) -> real.Cluster | None:
    """Return the cluster, or None when `stop` is set: then what has started by then is ended."""
    starting, stopped = asyncio.ensure_future(broker), asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        return await starting
    while not starting.done():  # it starts one program after the other
        _kill_children()
        await asyncio.wait({starting}, timeout=KILL_EVERY_S)
    starting.exception()
    return None


def _kill_children() -> None:
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=KILL_LIMIT_S)


def _end_at_once(left: contextlib.ExitStack, number: int) -> None:
    """End the demo's programs and the demo: somebody asks for the second time."""
    _kill_children()
    left.close()
    os._exit(128 + number)


def _start_broker(stack: contextlib.ExitStack, folder: Path, home: Path | None) -> real.Cluster:
    try:
        return stack.enter_context(real.cluster(folder, settings=BROKER_SETTINGS, home=home, apart=True))
    except ServiceMissing as missing:
        raise DemoError(
            f"{missing}; without the sources, install Java 17 or newer, unpack a kafka_2.13-*.tgz from"
            " https://kafka.apache.org/downloads and name its folder by --kafka-home"
        ) from None
    except RuntimeError as error:
        raise DemoError(str(error)) from None


def _look(cluster: real.Cluster, players: Players) -> None:
    (broker,) = cluster.brokers
    if broker.process is not None and broker.process.poll() is not None:
        raise DemoError(f"Kafka ended by itself; its log ends: {broker.log_tail()}")
    if players.failure is not None:
        raise DemoError(f"the story ended early: {type(players.failure).__name__}: {players.failure}")


def _config(folder: Path, port: int, bootstrap: str) -> str:
    rules = folder / "rules.yml"
    rules.write_text(
        re.sub(
            r"^    interval: .*", f"    interval: {RULES_EVERY}", rule_file("kafka").read_text(), flags=re.M
        )
    )
    return CONFIG.format(
        port=port,
        data=json.dumps(str(folder / "data")),
        rules=json.dumps([str(rules)]),
        bootstrap=bootstrap,
        stalled_after=STALLED_AFTER_S,
    )


def _introduce(console: Console, bootstrap: str, config: Path, url: str, limit_s: float | None) -> None:
    def line(title: str, text: str) -> None:
        console.print(f"{title:<10}{text}", soft_wrap=True)

    line("kafka", bootstrap)
    line("agent", url)
    line("config", str(config))
    for number, topic in enumerate(TOPICS):
        line("" if number else "topics", f"{topic.name:<13}{topic.partitions} partitions; {topic.words}")
    for number, group in enumerate(GROUPS):
        line("" if number else "groups", f"{group.name:<13}{group.words}: expect {group.expected}")
    metricsmith = command()
    line("try", f"{metricsmith} kafka lag --bootstrap {bootstrap}")
    line("", f"{metricsmith} kafka tombstones --bootstrap {bootstrap} --exact")
    line("", f"{metricsmith} kafka health --bootstrap {bootstrap}")
    line("", f"{metricsmith} query{url_option(url)} 'kafka_consumergroup_lag_state{{reason=\"stalled\"}}'")
    ends = "Ctrl-C ends all." if limit_s is None else f"Ends by itself after {limit_s:g} s."
    console.print(f"{ends} What the agent says, as it changes:", soft_wrap=True)
