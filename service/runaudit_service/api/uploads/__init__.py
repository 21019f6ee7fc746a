"""Resumable uploads: artifacts that come in by pieces, over connections that break."""
