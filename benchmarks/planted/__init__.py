"""Runs with planted and verified faults, and how often the audit names them."""
