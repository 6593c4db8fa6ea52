"""Runs executables that print documents of New Relic's integration protocol."""
