"""`metricsmith oci`: what the settings of an `oci` sink need to know of a tenancy, and a demo of the sink."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from metricsmith.cli.table import print_table
from metricsmith.cli.times import positive_seconds
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


@app.command("demo")
def demo(
    duration: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="End by itself after this time, with a table of what came.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Requests per second to the shop.")] = 50.0,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the agent.")] = 9480,
) -> None:
    """Ship a shop's metrics to a stand-in for OCI Monitoring on this machine; Ctrl-C ends all.

    The agent has the sink of examples/oci.yaml, and a key of its own. No account is needed.
    """
    limit_s = None if duration is None else positive_seconds(duration, "--for")
    try:
        import metricsmith.sinks.oci.sdk  # noqa: F401  without it the agent would not start
        from metricsmith.demo.oci_run import run_oci_demo
    except MissingExtra as error:
        raise ConfigError([Problem("", str(error))]) from None
    asyncio.run(run_oci_demo(limit_s, rate, port))
