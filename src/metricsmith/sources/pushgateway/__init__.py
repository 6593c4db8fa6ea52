"""Groups of metrics that jobs push, as a Pushgateway keeps them, until they expire."""
