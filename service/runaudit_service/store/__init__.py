"""Postgres rows, their repositories and the artifact blobs: the one place that both desks write to."""
