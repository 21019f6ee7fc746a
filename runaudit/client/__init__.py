"""The client of the service (needs httpx only)."""
