"""Batches of other agents, acknowledged once they are in our journal."""
