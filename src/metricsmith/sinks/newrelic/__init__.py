"""New Relic: its Metric API for samples, its Event API for events."""
