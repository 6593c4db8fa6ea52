"""`metricsmith kafka` against a real broker: JSON to the letter, tables that fit, errors in one line."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka import KafkaAdminClient

from metricsmith.testing import kafka as real
from metricsmith.testing.terminal import alike, steps

Run = Callable[..., subprocess.CompletedProcess[str]]
PREFIX = "cli-"
ALL_OURS = f"{PREFIX}.*"
PAGES = [Path(__file__).parents[2] / "docs" / name for name in ("kafka-commands.md", "kafka-health.md")]
BLOCKS = [text for page in PAGES for text in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)]
SHOWN = [
    (command, shown)
    for block in BLOCKS
    for command, shown in steps(block)
    if command.startswith("metricsmith kafka") and shown and "error" not in shown and "|" not in command
]
WORDS = {"topics", "lag", "tombstones", "balance", "health", "--json", "--exact", "--partitions"}
"""Of commands on the pages; topics, groups and times are those of the tests."""


@dataclass
class Shop:
    """A broker with topics of every kind, and the command that looks at it."""

    cluster: real.Cluster
    run: Run

    @property
    def bootstrap(self) -> str:
        return self.cluster.bootstrap()

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        asked = ("--topic", ALL_OURS) if "--topic" not in arguments else ()
        return self.run("kafka", *arguments, "--bootstrap", self.bootstrap, *asked, **environment)

    def on_a_terminal(self, columns: int, *arguments: str) -> str:
        """What a terminal shows that is so wide; without colours."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(io, "StringIO", lambda: out)
            self(*arguments, COLUMNS=str(columns), TERM="dumb", NO_COLOR="1")
        return out.getvalue()

    def json(self, *arguments: str, **environment: str) -> Any:
        done = self(*arguments, "--json", **environment)
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)


def write(bootstrap: str, topic: str, partition: int, values: list[bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for number, value in enumerate(values):
        producer.produce(topic, value, b"k%d" % number, partition=partition)
    assert producer.flush(20) == 0


def commit(bootstrap: str, group: str, topic: str, offsets: list[int]) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    spots = [TopicPartition(topic, number, offset) for number, offset in enumerate(offsets)]
    consumer.commit(offsets=spots, asynchronous=False)
    consumer.close()


@pytest.fixture(scope="module")
def shop(kafka: real.Cluster, here: Run) -> Iterator[Shop]:
    bootstrap = kafka.bootstrap()
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    settings: dict[str, tuple[int, dict[str, str]]] = {
        "cli-orders": (2, {"retention.ms": "86400000"}),
        "cli-users": (1, {"cleanup.policy": "compact", "retention.ms": "-1"}),
        "cli-empty": (1, {"retention.ms": "-1"}),
    }
    for name, (partitions, configs) in settings.items():
        admin.create_topics(
            {name: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}
        )
    write(bootstrap, "cli-orders", 0, [b"order"] * 300)
    write(bootstrap, "cli-orders", 1, [b"order"] * 100)
    write(bootstrap, "cli-users", 0, [None, b"", b"ada", b"bob"] * 100)
    commit(bootstrap, "cli-billing", "cli-orders", [300, 100])
    commit(bootstrap, "cli-reports", "cli-orders", [100, 50])
    yield Shop(kafka, here)
    admin.delete_topics(list(settings))
    admin.close()


def test_topics(shop: Shop) -> None:
    empty, orders, users = shop.json("topics", "--observe", "0s")
    assert orders.pop("bytes") > 1000
    assert orders == {
        "topic": "cli-orders",
        "partitions": 2,
        "replicas": 1,
        "under_replicated": 0,
        "offline": 0,
        "records": 400,
        "records_per_second": None,
        "retention_seconds": 86_400,
        "retention_bytes": None,
        "cleanup_policy": "delete",
    }
    assert (users["cleanup_policy"], users["retention_seconds"]) == ("compact", None)
    assert (empty["topic"], empty["records"]) == ("cli-empty", 0)


def test_rates_take_two_readings(shop: Shop) -> None:
    assert {row["records_per_second"] for row in shop.json("topics", "--observe", "10ms")} == {0.0}


def test_lag(shop: Shop) -> None:
    rows = shop.json("lag", "--observe", "1s")
    shape = ["group", "topic", "partition", "lag", "lag_seconds", "catch_up_seconds", "reason"]
    assert all(list(row) == shape for row in rows)
    found = {(row["group"], row["partition"]): row for row in rows}
    assert [*found] == [(group, part) for group in ("cli-billing", "cli-reports") for part in (None, 0, 1)]
    assert {part: row["lag"] for (group, part), row in found.items() if group == "cli-reports"} == {
        None: 250,
        0: 200,
        1: 50,
    }
    done = found["cli-billing", None]
    assert (done["lag"], done["lag_seconds"], done["catch_up_seconds"]) == (0, 0.0, 0.0)
    assert done["reason"] == "caught_up"
    never = found["cli-reports", None]
    assert (never["catch_up_seconds"], never["reason"]) == (None, "stable"), "null is never"


def test_one_reading_is_no_history_and_says_so(shop: Shop) -> None:
    rows = shop.json("lag", "--observe", "0s", "--group", "cli-reports")
    assert {row["reason"] for row in rows} == {"insufficient_history"}
    assert all("catch_up_seconds" not in row for row in rows), "left out is unknown"
    assert {row["group"] for row in rows} == {"cli-reports"}


@pytest.mark.parametrize("how", [(), ("--exact",)])
def test_tombstones(shop: Shop, how: tuple[str, ...]) -> None:
    rows = shop.json("tombstones", *how)
    found = {(row["topic"], row["partition"]): row for row in rows}
    assert [*found] == [
        ("cli-empty", None),
        ("cli-empty", 0),
        ("cli-orders", None),
        ("cli-orders", 0),
        ("cli-orders", 1),
        ("cli-users", None),
        ("cli-users", 0),
    ]
    assert found["cli-users", None] == {
        "topic": "cli-users",
        "partition": None,
        "records": 400,
        "tombstones": 100,
        "empty_values": 100,
        "ratio_percent": 25.0,
        "coverage": 1.0,
        "interval_low": 25.0,
        "interval_high": 25.0,
    }
    assert found["cli-empty", None]["ratio_percent"] == 0, "an empty topic has ratio 0"


def test_what_cannot_be_read_has_no_ratio(shop: Shop) -> None:
    done = shop("tombstones", "--exact", "--limit", "1ms", "--json", "--topic", "cli-users")
    [whole, _] = json.loads(done.stdout)
    assert (whole["ratio_percent"], whole["interval_low"], whole["coverage"]) == (None, None, 0.0)
    assert "warning: the check of tombstones has used up its budget of seconds" in done.stderr
    table = shop("tombstones", "--exact", "--limit", "1ms", "--topic", "cli-users").stdout
    assert "?" in table and "0.0 %" not in table


@pytest.mark.parametrize("command", ["tombstones", "health"])
def test_a_source_says_which_topics_are_checked_for_tombstones(
    shop: Shop, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "metricsmith.yml"
    looked_at = f"topics: {{include: '{ALL_OURS}'}}, tombstones: {{topics: {{include: cli-users}}}}"
    file.write_text(f"sources: [{{type: kafka, bootstrap_servers: {shop.bootstrap}, {looked_at}}}]\n")
    if command == "tombstones":
        configured = json.loads(shop.run("kafka", "tombstones", "--config", str(file), "--json").stdout)
        assert {row["topic"] for row in configured} == {"cli-users"}
        rows = shop.json("tombstones", "--config", str(file), "--topic", "cli-orders")
        assert {row["topic"] for row in rows} == {"cli-orders"}, "an option wins"
    else:
        quick = ("--config", str(file), "--observe", "0s", "--json")
        found = json.loads(shop.run("kafka", "health", *quick).stdout)
        [tombstones] = [each for each in found["components"] if each["name"] == "tombstones"]
        assert tombstones["input"] == 25.0, "of one topic of three"


def test_what_was_aborted_counts_unless_only_what_is_committed_is_asked_for(shop: Shop) -> None:
    topic, admin = "txn-cli", KafkaAdminClient(bootstrap_servers=shop.bootstrap)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    producer = Producer(
        {"bootstrap.servers": shop.bootstrap, "transactional.id": topic, "log_level": 0, "linger.ms": 0}
    )
    producer.init_transactions(20)
    for end in (producer.commit_transaction, producer.abort_transaction, None):
        producer.begin_transaction()
        producer.produce(topic, None, b"key")
        producer.flush(20)
        if end is not None:
            end(20)
    committed = ("--topic", topic, "--isolation-level", "read_committed")
    [all_of_it, _] = shop.json("tombstones", "--topic", topic)
    [only_committed, _] = shop.json("tombstones", *committed)
    assert (all_of_it["records"], only_committed["records"]) == (3, 1)
    [all_of_it] = shop.json("topics", "--observe", "0s", "--topic", topic)
    [only_committed] = shop.json("topics", "--observe", "0s", *committed)
    assert all_of_it["records"] == only_committed["records"] + 1, "a transaction is open"
    producer.abort_transaction(20)
    admin.delete_topics([topic])
    admin.close()


def test_a_sample_has_a_size_from_option_or_environment(shop: Shop) -> None:
    by_option = shop("tombstones", "--sample-size", "0")
    by_variable = shop("tombstones", SAMPLE_SIZE="many")
    assert by_option.returncode == by_variable.returncode == 2
    assert "SAMPLE_SIZE" in by_variable.stderr


def test_balance_is_that_of_the_pack(shop: Shop) -> None:
    rows = shop.json("balance", "--observe", "10ms")
    assert all(list(row) == ["topic", "kind", "score"] for row in rows)
    scores = {(row["topic"], row["kind"]): row["score"] for row in rows}
    assert scores["cli-orders", "messages"] == pytest.approx(100 * (1 - 100 / 200)), (
        "300 and 100: deviation 100"
    )
    assert scores["cli-empty", "messages"] == scores["cli-users", "messages"] == 100
    assert scores["cli-orders", "message_rate"] == 100, "nothing comes in: all alike"
    assert scores[None, "leaders"] == scores[None, "replicas"] == 100
    unwatched = {row["kind"] for row in shop.json("balance", "--observe", "0s")}
    assert unwatched == {"bytes", "messages", "leaders", "replicas"}


def test_health(shop: Shop) -> None:
    found = shop.json("health", "--observe", "1s")
    assert list(found) == ["score", "confidence", "components"]
    assert 0 < found["score"] <= 100 and 0 < found["confidence"] <= 1
    assert all(list(part) == ["name", "score", "weight", "input"] for part in found["components"])
    parts = {part["name"]: part for part in found["components"]}
    assert parts["offline"]["input"] == 0 and parts["tombstones"]["input"] == pytest.approx(12.5, abs=5)


def test_health_by_rules_of_ones_own(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "weights.yml"
    labels = "{scope: cluster, component: tombstones}"
    group = "groups: [{name: mine, rules: [{record: kafka_health_weight:override, labels: %s, expr: %s}]}]"
    file.write_text(group % (labels, "vector(7)"))
    found = shop.json("health", "--observe", "10ms", "--rules", str(file))
    assert {part["weight"] for part in found["components"] if part["name"] == "tombstones"} == {7}
    file.write_text(group % (labels, "vector("))
    assert shop("health", "--observe", "10ms", "--rules", str(file)).returncode == 3
    assert shop("health", "--rules", str(tmp_path / "none.yml")).returncode == 2


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("command", ["topics", "lag", "tombstones", "balance", "health"])
def test_tables_fit_a_terminal(shop: Shop, command: str, columns: int) -> None:
    quick = () if command == "tombstones" else ("--observe", "0s")
    shown = shop.on_a_terminal(columns, command, *quick)
    assert "cli-orders" in shown or command == "health"
    assert "…" not in shown, "nothing is cut off"
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= columns


def test_filter_that_leaves_nothing_says_so(shop: Shop) -> None:
    for command in ("topics", "lag", "tombstones", "balance"):
        quick = () if command == "tombstones" else ("--observe", "0s")
        done = shop(command, "--topic", "order", "--json", *quick)
        assert done.returncode == 0
        assert done.stderr.count("no topic matches order;") == 1
        assert [row for row in json.loads(done.stdout) if row["topic"] is not None] == []


def test_groups_that_are_not_there_are_told(shop: Shop) -> None:
    for command in ("lag", "health"):
        done = shop(command, "--group", "nope", "--json", "--observe", "0s")
        assert done.returncode == 0
        assert done.stderr.count("no group matches nope;") == 1


def test_a_limit_in_which_nothing_is_read_is_refused(shop: Shop) -> None:
    done = shop("tombstones", "--limit", "0s")
    assert done.returncode == 2 and "wanted a time above 0, such as 10m" in " ".join(done.stderr.split())


def test_internal_topics_only_when_asked_for(shop: Shop) -> None:
    everything = ("topics", "--observe", "0s", "--topic", ".*")
    assert "__consumer_offsets" not in {row["topic"] for row in shop.json(*everything)}
    assert "__consumer_offsets" in {row["topic"] for row in shop.json(*everything, "--internal")}


@pytest.mark.parametrize("command", ["topics", "lag", "tombstones", "balance", "health"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python leaves a socket
def test_broker_that_is_away_is_one_line_and_5(here: Run, command: str) -> None:
    done = here("kafka", command, "--bootstrap", "127.0.0.1:1", "--timeout", "100ms")
    assert done.returncode == 5 and done.stdout == ""
    assert done.stderr.startswith("error: no broker at 127.0.0.1:1")
    assert done.stderr.count("\n") == 1


def test_servers_come_from_the_environment(shop: Shop) -> None:
    done = shop.run(
        "kafka",
        "tombstones",
        "--json",
        "--topic",
        "cli-users",
        BOOTSTRAP_SERVERS=f"127.0.0.1:1,{shop.bootstrap}",
    )
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("topics", "--bootstrap", "a:b"), '--bootstrap: got "a:b", wanted brokers such as'),
        (("lag", "--group", "("), "--group: "),
        (("topics", "--topic", "("), "--topic: "),
        (("lag", "--watch", "0s"), "--watch: "),
        (("lag", "--observe", "soon"), "--observe: "),
        (("topics", "--timeout", "1"), "--timeout: "),
        (("lag", "--isolation-level", "dirty"), "--isolation-level: "),
        (("topics", "--source", "x"), "wanted --config FILE too"),
        (("topics", "--username", "ada"), "KAFKA_PASSWORD"),
        (("topics", "--mechanism", "MAGIC", "--username", "ada", "--password-file", "none"), "MAGIC"),
    ],
)
def test_wrong_usage_is_told(here: Run, arguments: tuple[str, ...], told: str) -> None:
    done = here("kafka", *arguments)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())


def test_watching_as_json_gives_a_line_per_reading(shop: Shop) -> None:
    options = ("--bootstrap", shop.bootstrap, "--topic", ALL_OURS, "--group", "cli-reports")
    command = [sys.executable, "-m", "metricsmith", "kafka", "lag", "--observe", "0s", *options]
    with subprocess.Popen([*command, "--json", "--watch", "1100ms"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        first, second = (json.loads(running.stdout.readline()) for _ in range(2))
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert {row["reason"] for row in first} == {"insufficient_history"}
    assert {row["reason"] for row in second} == {"stable"}, "readings add up to a history"


class TestSecurity:
    """Secrets come from files, the environment or a configuration; none stands on the command line."""

    @pytest.fixture
    def password(self, tmp_path: Path) -> str:
        file = tmp_path / "password"
        file.write_text(real.PASSWORD + "\n")
        return str(file)

    def look(self, shop: Shop, *arguments: str, **environment: str) -> int:
        done = shop.run(
            "kafka", "topics", "--topic", "cli-users", "--observe", "0s", "--json", *arguments, **environment
        )
        assert real.PASSWORD not in done.stdout + done.stderr
        assert done.returncode or len(json.loads(done.stdout)) == 1
        return done.returncode

    def test_password_file(self, shop: Shop, password: str) -> None:
        at = ("--bootstrap", shop.cluster.bootstrap("SASL_PLAINTEXT"), "--username", real.USER)
        assert self.look(shop, *at, "--password-file", password) == 0

    def test_password_in_the_environment(self, shop: Shop) -> None:
        who = {"KAFKA_USERNAME": real.USER, "KAFKA_PASSWORD": real.PASSWORD}
        at = ("--bootstrap", shop.cluster.bootstrap("SASL_PLAINTEXT"), "--mechanism", "plain")
        assert self.look(shop, *at, **who) == 0
        assert self.look(shop, *at, "--timeout", "2s", **(who | {"KAFKA_PASSWORD": "wrong"})) == 5

    def test_tls(self, shop: Shop, tmp_path: Path) -> None:
        assert shop.cluster.certificates is not None
        at = ("--bootstrap", shop.cluster.bootstrap("SSL"))
        assert self.look(shop, *at, "--ca-file", str(shop.cluster.certificates.authority)) == 0
        assert self.look(shop, *at, "--ca-file", str(tmp_path / "none.pem")) == 1

    def test_settings_of_a_configured_source(self, shop: Shop, password: str, tmp_path: Path) -> None:
        assert shop.cluster.certificates is not None
        file = tmp_path / "agent.yaml"
        source = {
            "type": "kafka",
            "name": "shop",
            "bootstrap_servers": shop.cluster.bootstrap("SASL_SSL"),
            "sasl": {"username": real.USER, "password": f"file:{password}"},
            "tls": {"ca_file": str(shop.cluster.certificates.authority)},
        }
        file.write_text(json.dumps({"sources": [source]}))
        assert self.look(shop, "--config", str(file)) == 0
        # A variable for commands without a file does not lead a configured one elsewhere.
        assert self.look(shop, "--config", str(file), BOOTSTRAP_SERVERS="127.0.0.1:1") == 0
        assert self.look(shop, "--config", str(file), "--source", "shop") == 0
        assert self.look(shop, "--config", str(file), "--source", "show") == 2
        file.write_text(json.dumps({"sources": [source, source | {"name": "other"}]}))
        assert self.look(shop, "--config", str(file)) == 2
        file.write_text("sources: [{type: kafka, sals: {}}]")
        assert self.look(shop, "--config", str(file)) == 3


def test_help_shows_examples(here: Run) -> None:
    for command in ("topics", "lag", "tombstones", "balance", "health"):
        shown = here("kafka", command, "--help").stdout
        assert f"metricsmith kafka {command} " in shown and "--bootstrap" in shown


def test_without_the_extra_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['kafka'] = None; from metricsmith.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "kafka", "topics"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install 'metricsmith[kafka]'" in done.stderr


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_pages_show_the_columns_that_are_printed(shop: Shop, command: str, shown: str) -> None:
    """Of docs/kafka-commands.md and docs/kafka-health.md; what is in the columns is that cluster's."""
    words = [word for word in shlex.split(command)[2:] if word in WORDS]
    observe = ["--observe", "10ms"] if words[0] in ("topics", "lag", "health") else []
    said = shop(*words, *observe, COLUMNS="160").stdout
    first = next(line for line in shown.splitlines())
    if words[0] == "health" and "--json" not in words:
        first = next(line for line in shown.splitlines() if line.startswith("component"))
    assert alike(first, said), said


def test_help_costs_no_client(metricsmith: Run) -> None:
    loaded = metricsmith("--help", PYTHONPROFILEIMPORTTIME="1").stderr
    assert "metricsmith.cli.kafka" in loaded
    assert not any(f"| {name}" in " ".join(loaded.split()) for name in ("kafka.net", "rich.live", "numpy"))


def test_shell_completion_knows_commands_and_options() -> None:
    def complete(words: str) -> list[str]:
        asked = {"_METRICSMITH_COMPLETE": "complete_bash", "COMP_WORDS": words}
        place = str(len(words.split()) - (not words.endswith(" ")))
        program = Path(sys.executable).with_name("metricsmith")
        done = subprocess.run(
            [program],
            env=os.environ | asked | {"COMP_CWORD": place},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert {"topics", "lag", "tombstones", "balance", "health"} <= set(complete("metricsmith kafka "))
    assert complete("metricsmith kafka lag --boot") == ["--bootstrap"]


def test_nothing_is_infinite_in_json(shop: Shop) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    for command in (("lag", "--observe", "1s"), ("topics", "--observe", "0s")):
        json.loads(shop(*command, "--json").stdout, parse_constant=refuse)
