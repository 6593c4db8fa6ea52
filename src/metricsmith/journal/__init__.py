"""The durable log: batches go to segment files before they are acknowledged; sinks and recovery read them."""

from metricsmith.journal.closed import GoneReader
from metricsmith.journal.config import JournalConfig
from metricsmith.journal.given_up import GivenUp
from metricsmith.journal.journal import Journal
from metricsmith.journal.reader import JournalReader

__all__ = ["GivenUp", "GoneReader", "Journal", "JournalConfig", "JournalReader"]
