"""Why there is no connection, for people."""

from __future__ import annotations

import os
import ssl

# What OpenSSL calls an answer of plain HTTP; the second since 3.2.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_OF_ANOTHER_NAME = frozenset({62, 64})


def why_not_connected(error: OSError) -> str:
    """Return the reason that the system gives, without the address.

    >>> why_not_connected(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"))
    'Connection refused'
    """
    # Errors of name look-ups have negative numbers and a text of their own.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def why_no_tls(error: Exception) -> str:
    """Return what is wrong with TLS, without the address; `error` is aiohttp's or of `ssl`."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _OF_ANOTHER_NAME:  # OpenSSL's words name it
            return "its certificate is for another name"
        return f"its certificate is not trusted ({cause.verify_message})"
    reason = getattr(cause, "reason", None) or type(cause).__name__
    if reason in _NOT_TLS:
        return "the server does not speak it; if it is one of plain HTTP, the address begins with http://"
    return str(reason)
