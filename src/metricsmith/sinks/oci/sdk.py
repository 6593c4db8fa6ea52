"""What is used of Oracle's SDK, imported in one place, which says what to install."""

from __future__ import annotations

from metricsmith.errors import MissingExtra

try:
    import oci
    import oci.auth.signers as signers
    import oci.identity
    import oci.monitoring
    from circuitbreaker import CircuitBreakerError
    from jwt import PyJWTError
    from oci._vendor.requests.exceptions import ProxyError, RequestException, Timeout, TooManyRedirects
except ImportError as error:
    raise MissingExtra(
        f"the oci sink needs Oracle's SDK, which is not installed ({error});"
        " install it with: pip install 'metricsmith[oci]'"
    ) from error

NO_TOKEN = (RuntimeError, CircuitBreakerError, PyJWTError)
"""What signers raise beside the SDK's own errors when a metadata or token service answers nothing useful."""

__all__ = ["NO_TOKEN", "ProxyError", "RequestException", "Timeout", "TooManyRedirects", "oci", "signers"]
