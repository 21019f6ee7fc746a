"""The embedded default: PostgreSQL, Valkey, API, workers and reaper as supervised processes of one command."""
