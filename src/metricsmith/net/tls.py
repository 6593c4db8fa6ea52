"""TLS as the settings want it."""

from __future__ import annotations

import ssl
from pathlib import Path

from metricsmith.net.settings import Tls


class TlsContext:
    """The TLS context of the settings, made again when one of its files changes."""

    def __init__(self, settings: Tls) -> None:
        self._settings = settings
        self._files = [f for f in (settings.ca_file, settings.cert_file, settings.key_file) if f is not None]
        self._seen: list[int] | None = None
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext | bool:
        """Return the context; True is the default one.

        Raises:
            OSError, ValueError: the files cannot be used.
        """
        if not self._files and not self._settings.insecure_skip_verify:
            return True
        seen = [Path(file).stat().st_mtime_ns for file in self._files]
        if self._context is None or seen != self._seen:
            self._context, self._seen = self._load(), seen
        return self._context

    def _load(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            # An encrypted key has no password here; without this, OpenSSL would ask on the terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
        if settings.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
