"""Builds the graph from the configuration and runs it: order of start, of stop, and of reload."""
