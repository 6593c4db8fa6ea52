"""Credentials and the region that they are for, as the SDK has them. All of this may wait: for threads."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricsmith.errors import RetryLater
from metricsmith.sinks.oci.sdk import NO_TOKEN, RequestException, oci, signers
from metricsmith.sinks.oci.settings import AccountSettings
from metricsmith.sinks.oci.trouble import unanswered

_INGESTION = "https://telemetry-ingestion.{region}.{secondLevelDomain}"
_TOKEN_FILE = "security_token_file"
_HOW = "the console shows what belongs there, under a user's API keys; `oci setup config` writes it, too"
_WORKS = {
    "instance_principal": "on a compute instance of OCI",
    "resource_principal": "in a function or another resource of OCI",
    "workload_identity": "in a pod of an enhanced OKE cluster",
}


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """Who signs requests. `settings` are the SDK's: they hold secrets and are not shown."""

    settings: Mapping[str, Any]
    signer: Any
    region: str

    @property
    def ingestion(self) -> str:
        """The address that takes metrics in the region.

        Raises:
            RetryLater: the credentials are for no region.
        """
        if not self.region:
            raise RetryLater("the credentials name no region; set `endpoint`", reason="credentials")
        found: str = oci.regions.endpoint_for(
            "telemetry-ingestion", region=self.region, service_endpoint_template=_INGESTION
        )
        return found


def open_account(wanted: AccountSettings) -> Account:
    """Return the account that the settings name; files are read now.

    Raises:
        RetryLater: there is none yet. It may come: files are mended, metadata services start.
    """
    try:
        return _from_file(wanted) if wanted.auth == "config_file" else _from_here(wanted.auth)
    except oci.exceptions.ServiceError as error:
        raise _no_credentials(wanted, f"got {error.status}, not a token: {_plain(error.message)}") from None
    except RequestException as error:
        address = "" if error.request is None else str(error.request.url)
        raise _no_credentials(wanted, str(unanswered(error, address))) from None
    except NO_TOKEN as error:
        raise _no_credentials(wanted, _plain(error)) from None
    except (oci.exceptions.ClientError, configparser.Error, OSError, ValueError, KeyError) as error:
        raise _no_credentials(wanted, _plain(error)) from None


def _from_file(wanted: AccountSettings) -> Account:
    settings = oci.config.from_file(wanted.config_file, wanted.profile)
    settings["log_requests"] = False  # it would print signatures
    if _TOKEN_FILE in settings:
        token = Path(settings[_TOKEN_FILE]).expanduser().read_text(encoding="ascii").strip()
        key = oci.signer.load_private_key_from_file(settings["key_file"], settings.get("pass_phrase"))
        signer = signers.SecurityTokenSigner(token, key)
    else:
        signer = oci.signer.Signer.from_config(settings)
    return Account(settings, signer, settings.get("region") or "")


def _from_here(auth: str) -> Account:
    """Return the account of the machine, function or pod that this runs on."""
    # The delivery engine tries again, and says why: a breaker would hide the reason.
    once = oci.retry.NoneRetryStrategy()
    if auth == "instance_principal":
        signer = signers.InstancePrincipalsSecurityTokenSigner(
            retry_strategy=once,
            federation_client_retry_strategy=once,
            federation_client_circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
        )
    elif auth == "resource_principal":
        signer = signers.get_resource_principals_signer()
    else:
        signer = signers.get_oke_workload_identity_resource_principal_signer(retry_strategy=once)
    return Account({"region": signer.region}, signer, signer.region or "")


def _no_credentials(wanted: AccountSettings, why: str) -> RetryLater:
    if wanted.auth == "config_file":
        told = f"no credentials from {wanted.config_file}, profile {wanted.profile}: {why} ({_HOW})"
    else:
        told = f"no credentials from {wanted.auth}: {why} (it works {_WORKS[wanted.auth]} only)"
    return RetryLater(told, reason="credentials")


def _plain(error: object) -> str:
    """Return what an error says, on one line; those of the SDK end in advertisements of pages."""
    if isinstance(error, oci.exceptions.InvalidConfig) and isinstance(error.errors, dict):
        return ", ".join(f"{key} is {what}" for key, what in sorted(error.errors.items()))
    text = str(error).partition("For more info")[0].partition(", please follow")[0]
    return " ".join(text.split())[:300]
