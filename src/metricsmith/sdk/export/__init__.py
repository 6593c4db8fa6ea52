"""Exporting from an application: a page for scrapers, and pushing to the agent, a bus, a server.

from metricsmith.sdk.export import Export, settings_from_environment

export = Export(settings_from_environment())
export.start()
"""

from metricsmith.sdk.export.exporter import Export
from metricsmith.sdk.settings import ExportSettings, settings_from_environment

__all__ = ["Export", "ExportSettings", "settings_from_environment"]
