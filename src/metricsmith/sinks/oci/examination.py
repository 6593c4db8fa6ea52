"""The oci sink before it sends: credentials can be read and sign, the service is there; nothing is posted."""

from __future__ import annotations

from functools import partial

from metricsmith.errors import RetryLater
from metricsmith.model.findings import Findings
from metricsmith.net.reach import examine_server, place_of
from metricsmith.net.settings import Tls
from metricsmith.net.threads import in_thread
from metricsmith.sinks.oci.account import open_account
from metricsmith.sinks.oci.settings import OciConfig


async def examine(config: OciConfig, name: str, findings: Findings) -> None:
    """Tell of credentials and service."""
    about = f"{config.config_file}, profile {config.profile}" if config.auth == "config_file" else config.auth
    try:
        account = await in_thread(name, partial(open_account, config))
        endpoint = config.endpoint or account.ingestion
    except RetryLater as error:
        findings.problem(about, str(error), "credentials")
        if config.endpoint is None:
            return
        endpoint = config.endpoint
    else:
        findings.ok(about, f"credentials of region {account.region or '(none)'}; only a delivery tries them")
    await examine_server(findings, place_of(endpoint), endpoint, Tls())
