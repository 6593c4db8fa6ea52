"""Those who are told of alerts, before there is one: asked in ways that tell nobody anything."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from pydantic import SecretStr

from metricsmith.contracts import Context
from metricsmith.model.clock import SystemClock
from metricsmith.model.findings import Findings
from metricsmith.model.overheard import Overheard
from metricsmith.model.series import SeriesTable
from metricsmith.model.settings_types import reveal
from metricsmith.net.list_examination import first_list
from metricsmith.net.post import Answer, Poster
from metricsmith.net.reach import examine_post, examine_server
from metricsmith.net.settings import Tls
from metricsmith.net.target_files import FileProvider
from metricsmith.rules.notify.alertmanager import alerts_url, listed_urls
from metricsmith.rules.notify.destination import shown_address
from metricsmith.rules.notify.settings import AlertmanagerConfig, NotifySettings

_JSON = {"Content-Type": "application/json"}


async def examine_destinations(settings: NotifySettings, findings: Findings) -> None:
    """Tell whether Alertmanagers take a list of no alerts, and whether webhooks' servers are there."""
    work = [_alertmanagers(each, findings) for each in settings.alertmanagers]
    if settings.webhook_url is not None:
        work.append(_webhook("alerts.webhook_url", settings.webhook_url, findings))
    work += [
        _webhook(f"alerts.rules[{i}].webhook_url", rule.webhook_url, findings)
        for i, rule in enumerate(getattr(settings, "rules", ()))
        if rule.webhook_url is not None
    ]
    await asyncio.gather(*work)
    if settings.notify and find_spec("apprise") is None:
        hint = "pip install 'metricsmith[notify]'"
        findings.problem("alerts.notify", "Apprise is not installed", "the extra `notify`", hint)
    elif settings.notify:
        findings.ok(
            "alerts.notify", f"{len(settings.notify)} services; whether they are reached is not tried"
        )


async def _alertmanagers(config: AlertmanagerConfig, findings: Findings) -> None:
    urls = list(config.addresses())
    if config.file_sd is not None:
        heard = Overheard()
        provider = FileProvider(config.file_sd, Context("alerts", SeriesTable(), heard, SystemClock()))
        found = await first_list(provider.kind, provider.run, heard, findings)
        urls += listed_urls(found, config, lambda why: findings.problem("file_sd", why))
    await asyncio.gather(*(_alertmanager(url, config, findings) for url in urls))


async def _alertmanager(url: str, config: AlertmanagerConfig, findings: Findings) -> None:
    poster = Poster(config, findings.within_s(config.timeout / 1000))

    async def asked() -> Answer:
        return await poster.ask(alerts_url(url, config), b"[]", _JSON)

    try:
        await examine_post(
            findings, f"Alertmanager {url}", asked(), "check its address, path_prefix and login"
        )
    finally:
        await poster.close()


async def _webhook(about: str, secret: SecretStr, findings: Findings) -> None:
    try:
        url = reveal(secret)
    except (OSError, ValueError) as error:
        findings.problem(about, f"its file cannot be read: {error}", "a URL in it")
        return
    await examine_server(findings, f"{about} {shown_address(url)}", url, Tls())
