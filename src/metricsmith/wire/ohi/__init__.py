"""Documents of New Relic's infrastructure integrations, protocol versions 1 to 4."""
