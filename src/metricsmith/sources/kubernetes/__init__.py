"""Targets that a Kubernetes cluster tells of, listed and watched through its API."""
