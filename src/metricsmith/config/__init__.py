"""Configuration: YAML and environment become typed settings; every mistake is reported with its line."""

from metricsmith.config.load import load_file, load_text
from metricsmith.config.settings import Settings

__all__ = ["Settings", "load_file", "load_text"]
