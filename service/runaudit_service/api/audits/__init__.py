"""Audits over HTTP: taking them in, telling of them, ending them."""
