"""The front desk: FastAPI, keys, uploads and the history of audits. It queues work and never does any."""
