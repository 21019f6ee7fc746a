"""Artifacts that a tenant has already."""
