"""The scrape source before it runs: discovery answers, and every target is fetched once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from yarl import URL

from metricsmith.contracts import Context
from metricsmith.errors import MetricsmithError, ScrapeError
from metricsmith.model.findings import Findings
from metricsmith.model.overheard import Overheard
from metricsmith.net.list_examination import first_list
from metricsmith.net.reach import IS_IT_THERE, place_of
from metricsmith.net.target_files import Listed
from metricsmith.sources.body import BodyReader
from metricsmith.sources.client import HttpClient
from metricsmith.sources.discovery import Provider, providers
from metricsmith.sources.endpoint import Endpoint, discovered, endpoint, without_secrets
from metricsmith.sources.plan import Planner
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition import ACCEPT_HEADER, ExpositionFormat, format_of

AT_ONCE = 50
MOST_TARGETS = 1000
SHOWN = 20
"""So many targets that are well have lines of their own."""
MANY_SERIES = 0.8
"""So much of a limit is near to it."""
_HINTS = {
    "connection": IS_IT_THERE,
    "timeout": "set a longer timeout, or find out what makes it slow",
    "tls": "check tls.ca_file and tls.server_name, or the scheme",
    "secret": "check the file and who may read it",
    "parse": "is this a page of metrics? check metrics_path",
    "sample_limit": "raise sample_limit, or drop series with metric_relabel_configs",
    "body_size": "raise body_size_limit",
    "status": "check the path and the credentials",
}


async def examine(config: ScrapeConfig, context: Context, findings: Findings) -> None:
    """Tell of each provider and each target."""
    overheard = Overheard()
    context = replace(context, telemetry=overheard)
    lists = await asyncio.gather(
        *(first_list(p.kind, p.run, own, findings) for p, own in _providers(config, context))
    )
    wanted = _endpoints([one for found in lists for one in found], config, context, findings)
    if not wanted:
        findings.warning("targets", "none", "at least one", "discovery lists none, or relabel rules drop all")
    if len(wanted) > config.target_limit:
        findings.problem("targets", f"{len(wanted)}", f"at most {config.target_limit}", "raise target_limit")
    if len(wanted) > MOST_TARGETS:
        findings.warning("targets", f"{len(wanted)}; the first {MOST_TARGETS} are fetched")
    findings.targets += len(wanted)
    gate, well = asyncio.Semaphore(AT_ONCE), dict[str, int]()
    try:
        async with HttpClient(config) as client:
            await asyncio.gather(
                *(
                    _fetch(one, client, gate, config, context, overheard.apart(), findings, well)
                    for one in wanted[:MOST_TARGETS]
                )
            )
    finally:  # when the time runs out, too
        if more := list(well.values())[SHOWN:]:
            findings.ok(f"{len(more)} more targets", f"up 1, {sum(more)} series")


def _providers(config: ScrapeConfig, context: Context) -> list[tuple[Provider, Overheard]]:
    """Return the providers, each with what alone hears of its troubles."""
    found = []
    for number in range(len(providers(config, context))):
        heard = Overheard()
        found.append((providers(config, replace(context, telemetry=heard))[number], heard))
    return found


def _endpoints(
    listed: list[Listed], config: ScrapeConfig, context: Context, findings: Findings
) -> list[Endpoint]:
    found: dict[Endpoint, None] = {}
    for one in listed:
        try:
            named = endpoint(discovered(one.target, one.labels), context.name, config) if one.wanted else None
        except ValueError as error:
            findings.problem(without_secrets(one.target), str(error), hint="it is not scraped")
            continue
        if named is not None:
            found[named] = None
    return list(found)


async def _fetch(
    one: Endpoint,
    client: HttpClient,
    gate: asyncio.Semaphore,
    config: ScrapeConfig,
    context: Context,
    heard: Overheard,
    findings: Findings,
    well: dict[str, int],
) -> None:
    """Fetch a target as a scrape does, and tell what came of it; `well` are the series of those that are."""
    about = one.shown
    context = replace(context, telemetry=heard)
    timeout_s = round(findings.within_s(one.timeout_ms / 1000), 3)
    headers = {"Accept": ACCEPT_HEADER, "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_s:g}"}
    try:
        async with gate:
            began = time.monotonic()
            answer = await client.get(URL(one.url), headers, timeout_s, config.body_size_limit)
            took_s = time.monotonic() - began
        findings.told_time(place_of(one.url), answer.headers)
        planner = Planner(config, context.series, one.labels, about)
        scraped = await BodyReader(config, context, planner, about).read(answer)
    except ScrapeError as error:
        findings.problem(about, str(error), "up 1: a page of metrics", _hint(error))
        return
    except MetricsmithError as error:
        findings.problem(about, str(error), "up 1: a page of metrics")
        return
    samples = scraped.plan.post_relabel
    findings.expect(samples, one.interval_ms)
    _tell_form(about, answer.content_type, findings)
    for message in heard.heard:
        findings.warning(about, message)
    if not samples:
        got = f"up 1, but no series are left of {scraped.plan.scraped}"
        findings.warning(about, got, "some", "check metric_relabel_configs")
        return
    if 0 < config.sample_limit * MANY_SERIES < samples:
        got = f"{samples} series, near to sample_limit {config.sample_limit}: above it, all are refused"
        findings.warning(about, got, "room to grow", "raise it, or drop series with metric_relabel_configs")
    if took_s > one.timeout_ms / 1000 / 2:
        got = f"it took {took_s:.2f}s of a timeout of {one.timeout_ms / 1000:g}s"
        findings.warning(about, got, "time to spare", "set a longer timeout and interval")
    well[one.url] = samples
    if len(well) <= SHOWN:
        findings.ok(about, f"up 1, {samples} series{_limit(config)} in {took_s * 1000:.0f} ms")


def _tell_form(about: str, content_type: str, findings: Findings) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if format_of(content_type) is ExpositionFormat.TEXT and kind not in ("text/plain", ""):
        got = f"Content-Type {kind}, read as text all the same"
        findings.warning(about, got, "text/plain or OpenMetrics", "is this a page of metrics?")


def _limit(config: ScrapeConfig) -> str:
    return f" of at most {config.sample_limit}" if config.sample_limit else ""


def _hint(error: ScrapeError) -> str:
    return _HINTS.get(error.reason, "")
