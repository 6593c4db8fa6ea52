"""A thousand rules as teams write them, over the series of `common.exposition`."""

from __future__ import annotations

from pathlib import Path

RECORDING = (
    "sum by (instance) (rate({counter}[1m]))",
    "avg by (zone) ({gauge})",
    "max by (route, job) ({gauge})",
    "sum by (zone) (rate({counter}[2m])) / on (zone) count by (zone) ({counter})",
    "max_over_time({gauge}[1m])",
)
ALERTING = (
    "{gauge} > 995",
    "sum by (job, instance) (rate({counter}[1m])) < 0",
    "avg by (zone) ({gauge}) > 2000",
    'absent({gauge}{{route="/api/v1/items"}})',
    "{gauge} / on (instance, route) {counter} > 1e9",
)
PAIRS, GROUP = 50, 50


def write_rules(path: Path, rules: int, interval: str) -> None:
    """Write a rule file with so many rules in groups of GROUP, half of them alerts."""
    lines = ["groups:"]
    for number in range(rules):
        if number % GROUP == 0:
            lines += [f"- name: team-{number // GROUP}", f"  interval: {interval}", "  rules:"]
        metric = number // 10 % PAIRS * 2
        names = {
            "gauge": f"app_subsystem_metric_{metric:03d}",
            "counter": f"app_subsystem_metric_{metric + 1:03d}_total",
        }
        if number % 2:
            expr = ALERTING[number // 2 % 5].format(**names)
            lines += [
                f"  - alert: Alert{number}",
                f"    expr: '{expr}'",
                "    for: 30s",
                "    labels: {severity: page}",
                '    annotations: {summary: "{{ $labels.instance }}: {{ $value | humanize }}"}',
            ]
        else:
            expr = RECORDING[number // 2 % 5].format(**names)
            lines += [f"  - record: recorded:{number}", f"    expr: '{expr}'"]
    path.write_text("\n".join(lines) + "\n")
