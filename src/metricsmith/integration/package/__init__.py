"""Packages of integrations: built alike each time, installed as a whole or not at all."""
