"""`python -m metricsmith` is the `metricsmith` command."""

from metricsmith.cli.main import main

main()
