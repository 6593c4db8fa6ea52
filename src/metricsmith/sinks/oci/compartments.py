"""The compartments of a tenancy, to choose one from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metricsmith.errors import RetryLater
from metricsmith.sinks.oci.account import open_account
from metricsmith.sinks.oci.sdk import NO_TOKEN, RequestException, oci
from metricsmith.sinks.oci.settings import AccountSettings
from metricsmith.sinks.oci.trouble import unanswered

ROOT = "(root)"
_MAX_DEPTH = 20


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
        **({} if endpoint is None else {"service_endpoint": endpoint}),
    )
    try:
        answer = oci.pagination.list_call_get_all_results(
            client.list_compartments, tenancy, compartment_id_in_subtree=True, lifecycle_state="ACTIVE"
        )
    except oci.exceptions.ServiceError as error:
        raise RetryLater(f"got {error.status} {error.code}: {error.message}") from None
    except (RequestException, OSError, ValueError) as error:
        raise unanswered(error, client.base_client.endpoint) from None
    except NO_TOKEN as error:
        raise RetryLater(f"no token to sign with: {error}") from None
    finally:
        client.base_client.session.close()
    inside = {each.id: (each.name, each.compartment_id) for each in answer.data}
    found = [Compartment(_path(each.id, inside), each.id, each.description or "") for each in answer.data]
    return [Compartment(ROOT, str(tenancy), "the tenancy"), *sorted(found, key=lambda each: each.path)]


def _path(compartment: str, inside: Mapping[str, tuple[str, str]]) -> str:
    names: list[str] = []
    while compartment in inside and len(names) < _MAX_DEPTH:
        name, compartment = inside[compartment]
        names.insert(0, name)
    return "/".join(names)
