"""The sender of webhooks: `python -m runaudit_worker.sender`."""
