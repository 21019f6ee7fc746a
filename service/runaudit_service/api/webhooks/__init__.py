"""Webhooks over HTTP: who is told of audits, and what was delivered."""
