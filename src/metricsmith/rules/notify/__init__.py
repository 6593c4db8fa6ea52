"""Telling others of alerts: a durable outbox, and what takes its entries to where they belong."""
