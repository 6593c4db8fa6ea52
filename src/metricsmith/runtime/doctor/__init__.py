"""Holds a configuration against reality: checks run at once, and none changes anything."""
