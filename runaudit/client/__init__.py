"""The client of the service (needs httpx and pydantic only)."""

from runaudit.client.client import Client
from runaudit.client.credentials import Credentials, load_credentials
from runaudit.client.errors import CredentialsError, ProblemError, ServiceUnreachableError, WaitTimeoutError
from runaudit.client.events import AuditEvent
from runaudit.client.models import Audit, AuditProgress, CreatedKey

__all__ = [
    "Audit",
    "AuditEvent",
    "AuditProgress",
    "Client",
    "CreatedKey",
    "Credentials",
    "CredentialsError",
    "ProblemError",
    "ServiceUnreachableError",
    "WaitTimeoutError",
    "load_credentials",
]
