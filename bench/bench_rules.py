"""Claim: 1,000 rules over 10,000 series cost no more CPU than in Prometheus; a round takes at most 1 s.

Both scrape the same targets, first without rules, then with them: the difference is what the rules cost.
`bench_rules.py [SECONDS] [INTERVAL]`: seconds of each half, interval of scrapes and rules.
"""

from __future__ import annotations

import sys
import time
import urllib.request

from common import agent, metricsmith_config, prometheus_config, table, targets, usage, workspace
from metricsmith.testing.services import prometheus
from rules_load import write_rules

TARGETS, SERIES, RULES = 10, 1000, 1000


def main(seconds: float, interval: str) -> None:
    """Print CPU time per second without and with rules, and the time of a round of all groups."""
    with workspace() as folder, targets(SERIES) as port:
        rules = folder / "rules.yml"
        rules.write_text("groups: []\n")
        theirs = prometheus_config(port, TARGETS, interval) + f"rule_files: ['{rules}']\n"
        mine = metricsmith_config(port, TARGETS, interval) + f"rules: {{{{files: ['{rules}']}}}}\n"
        with (
            prometheus(folder / "prometheus", theirs) as peer,
            agent(folder / "metricsmith", mine) as ours,
        ):
            servers = {"prometheus": peer, "metricsmith": ours}
            time.sleep(5)  # both have begun to scrape
            before = _cpu_share(servers, seconds)
            write_rules(rules, RULES, interval)
            for server in servers.values():
                urllib.request.urlopen(f"{server.url}/-/reload", b"").close()
            time.sleep(5)
            after = _cpu_share(servers, seconds)
            rounds = {name: _round_s(server.url) for name, server in servers.items()}
    cost = {name: after[name] - before[name] for name in servers}
    table(
        f"{RULES} rules over {TARGETS * SERIES} series, every {interval}, {seconds:g} s",
        ("who", "CPU s/s without", "with rules", "of the rules", "ratio", "round of all groups, s"),
        [(n, before[n], after[n], cost[n], cost[n] / cost["prometheus"], rounds[n]) for n in servers],
    )


def _cpu_share(servers: dict[str, object], seconds: float) -> dict[str, float]:
    began = {name: usage(server.pid).cpu_s for name, server in servers.items()}  # type: ignore[attr-defined]
    time.sleep(seconds)
    return {
        name: (usage(server.pid).cpu_s - began[name]) / seconds  # type: ignore[attr-defined]
        for name, server in servers.items()
    }


def _round_s(url: str) -> float:
    """Return the sum of the last rounds of all groups; they run side by side, so it is the most."""
    with urllib.request.urlopen(f"{url}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if "rule_group_last_duration_seconds{" in line
    )


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 60,
        sys.argv[2] if len(sys.argv) > 2 else "15s",
    )
