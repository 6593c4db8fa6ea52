"""`metricsmith oci`: what the settings of an `oci` sink need to know of a tenancy."""

from __future__ import annotations

from typing import Annotated

import typer

from metricsmith.cli.table import print_table
from metricsmith.errors import ConfigError, MissingExtra, Problem

app = typer.Typer(no_args_is_help=True, help="Look at an OCI tenancy, for the settings of an `oci` sink.")


@app.callback()
def root() -> None:
    """Commands for OCI."""


@app.command("compartments")
def compartments(
    config_file: Annotated[
        str, typer.Option(metavar="FILE", help="Configuration file of the SDK.")
    ] = "~/.oci/config",
    profile: Annotated[str, typer.Option(metavar="NAME", help="Profile in that file.")] = "DEFAULT",
    auth: Annotated[
        str, typer.Option(metavar="KIND", help="Where the credentials come from, as in the sink's settings.")
    ] = "config_file",
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the identity service.", hidden=True)
    ] = None,
) -> None:
    """Show the compartments that metrics can go to, with the OCID that `compartment_id` wants."""
    from metricsmith.sinks.oci.settings import AccountSettings

    try:
        from metricsmith.sinks.oci.compartments import compartments as read

        wanted = AccountSettings.model_validate(
            {"config_file": config_file, "profile": profile, "auth": auth}
        )
    except MissingExtra as error:
        raise ConfigError([Problem("", str(error))]) from None
    except ValueError:
        kinds = "config_file, instance_principal, resource_principal or workload_identity"
        raise typer.BadParameter(f'got "{auth}", wanted {kinds}', param_hint="--auth") from None
    rows: list[tuple[str, ...]] = [(each.path, each.id, each.description) for each in read(wanted, endpoint)]
    print_table(rows, ("compartment", "compartment_id", "description"))
