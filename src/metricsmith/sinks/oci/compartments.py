"""The compartments of a tenancy, to choose one from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metricsmith.errors import RetryLater
from metricsmith.sinks.oci.account import open_account
from metricsmith.sinks.oci.client import refused
from metricsmith.sinks.oci.sdk import NO_TOKEN, RequestException, oci
from metricsmith.sinks.oci.settings import AccountSettings
from metricsmith.sinks.oci.trouble import unanswered

ROOT = "(root)"
_MAX_DEPTH, _MAX_PAGES = 20, 1000


@dataclass(frozen=True, slots=True)
class Compartment:
    """A place for metrics; `path` has the names of those that it lies in, from the root down."""

    path: str
    id: str
    description: str


def compartments(wanted: AccountSettings, endpoint: str | None = None) -> list[Compartment]:
    """Return the active compartments that the account may see, by path; the tenancy itself first.

    Raises:
        RetryLater: no credentials, or no answer; the message says why.
    """
    account = open_account(wanted)
    tenancy = account.settings.get("tenancy") or getattr(account.signer, "tenancy_id", None)
    if tenancy is None:
        raise RetryLater(f"the credentials of {wanted.auth} name no tenancy to look into")
    client = oci.identity.IdentityClient(
        dict(account.settings),
        signer=account.signer,
        timeout=(wanted.connect_timeout / 1000, wanted.timeout / 1000),
        retry_strategy=oci.retry.NoneRetryStrategy(),
        circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
        **({} if endpoint is None else {"service_endpoint": endpoint}),
    )
    try:
        rows = _all(client, tenancy)
    except oci.exceptions.ServiceError as error:
        raise refused(error) from None
    except (RequestException, OSError, ValueError) as error:
        raise unanswered(error, client.base_client.endpoint) from None
    except NO_TOKEN as error:
        raise RetryLater(f"no token to sign with: {error}") from None
    finally:
        client.base_client.session.close()
    inside = {each.id: (each.name, each.compartment_id) for each in rows}
    found = [Compartment(_path(each.id, inside), each.id, each.description or "") for each in rows]
    return [Compartment(ROOT, str(tenancy), "the tenancy"), *sorted(found, key=lambda each: each.path)]


def _all(client: Any, tenancy: str) -> list[Any]:
    """Return the rows of all pages; the SDK's own loop calls a region that is not there for ten minutes."""
    rows: list[Any] = []
    more: dict[str, str] = {}
    for _ in range(_MAX_PAGES):
        answer = client.list_compartments(
            tenancy, compartment_id_in_subtree=True, lifecycle_state="ACTIVE", **more
        )
        rows += answer.data
        if not answer.has_next_page:
            break
        more = {"page": answer.next_page}
    return rows


def _path(compartment: str, inside: Mapping[str, tuple[str, str]]) -> str:
    names: list[str] = []
    while compartment in inside and len(names) < _MAX_DEPTH:
        name, compartment = inside[compartment]
        names.insert(0, name)
    return "/".join(names)
