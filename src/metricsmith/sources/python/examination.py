"""The python source before it runs: files and modules are loaded, and no collector is called."""

from __future__ import annotations

from metricsmith.contracts import Context
from metricsmith.model.findings import Findings
from metricsmith.sources.python.catalogue import Catalogue
from metricsmith.sources.python.settings import PythonConfig
from metricsmith.sources.python.threads import Threads


async def examine(config: PythonConfig, context: Context, findings: Findings) -> None:
    """Tell which collectors there are, and what cannot be loaded."""
    threads = Threads(f"collectors of {context.name}")
    try:
        catalogue = Catalogue(config, threads, context.clock)
        await catalogue.look()
        chosen, refusals = catalogue.chosen()
    finally:
        threads.close()
    for refusal in refusals:
        hint = "`metricsmith collect FILE --once` tells more"
        findings.problem(refusal.what, refusal.message, "collectors that load", hint)
    if chosen:
        findings.ok("collectors", ", ".join(sorted(chosen)))
    elif not refusals:
        findings.warning("collectors", "none", "some", "check files, modules and directory")
