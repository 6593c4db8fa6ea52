"""`metricsmith store`: back up, move and look after what the embedded store keeps."""

from __future__ import annotations

import typer

from metricsmith.cli.store import delete_series, export, import_, snapshot, stats, verify

app = typer.Typer(no_args_is_help=True, help="Back up, move and look after stored samples.")
app.command("snapshot", epilog=snapshot.EXAMPLES)(snapshot.snapshot)
app.command("verify", epilog=verify.EXAMPLES)(verify.verify)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("import", epilog=import_.EXAMPLES)(import_.import_)
app.command("delete-series", epilog=delete_series.EXAMPLES)(delete_series.delete_series)
app.command("stats", epilog=stats.EXAMPLES)(stats.stats)
