"""Apprise, imported only where an address of its kind is configured."""

from __future__ import annotations

import logging
from typing import Any

MISSING = "the extra `notify`, which is not installed: pip install 'metricsmith[notify]'"
_TALKATIVE = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")
"""Loggers that write addresses, and what is in them is secret."""


def apprise_service(url: str) -> Any:
    """Return the service that an address stands for.

    Raises:
        ValueError: Apprise is not installed, or knows no such service. The address is not in the message.
    """
    try:
        import apprise
    except ImportError:
        raise ValueError(MISSING) from None
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        raise ValueError("an address that Apprise knows, such as slack://TOKEN_A/TOKEN_B/TOKEN_C")
    return service


def check_apprise_url(url: str) -> None:
    """Return when Apprise understands an address.

    Raises:
        ValueError: it does not, or is not installed.
    """
    apprise_service(url)
