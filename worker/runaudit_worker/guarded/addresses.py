"""Names are resolved once, and every address that comes is held against the rule (store/address_rule.py)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

from runaudit_service.store.address_rule import AddressRule
from runaudit_worker.guarded.errors import EgressFailedError, EgressRefusedError

Resolver = Callable[[str, int], Sequence[str]]
"""from host and port to numeric addresses; may block, may raise OSError"""


def resolve(host: str, port: int) -> list[str]:
    """The system's answer: every address of a name, each once, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def permitted_addresses(rule: AddressRule, resolver: Resolver, host: str, port: int) -> list[str]:
    """Ask the resolver once, and let the answer through only if every address of it may be connected to.

    All, not one: a name that also leads inside is somebody's attempt, whichever address comes first.

    Raises:
        EgressFailedError: `host_not_resolved`.
        EgressRefusedError: `address_not_allowed`. The sentence does not tell which address it was.
    """
    addresses = [host] if _is_literal(host) else _asked(resolver, host, port)
    try:
        refused = [address for address in addresses if not rule.permits(address, port)]
    except ValueError:
        refused = addresses
    if refused:
        raise EgressRefusedError(
            f"{host} is not a public address at an ordinary port, and no network that is allowed here.",
            code="address_not_allowed",
        )
    return addresses


def _asked(resolver: Resolver, host: str, port: int) -> list[str]:
    try:
        addresses = list(resolver(host, port))
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise EgressFailedError(f"The name {host} leads to no address.", code="host_not_resolved")
    return addresses


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
