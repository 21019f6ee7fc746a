"""Inbound hooks: what other systems tell becomes audits."""
