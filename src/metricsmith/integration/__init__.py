"""From an idea to a deployed integration: a project of its own, checked, packaged, installed."""
