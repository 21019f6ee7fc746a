"""Which addresses may be connected to: a list of our own, asked for every address that a name resolves to.

`ipaddress.is_global` is not asked: Python 3.11 calls global what is NAT64, 6to4, multicast or site-local
(research/security.md C, measured).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from runaudit_service.store.web_address import Network, WebAddress

# IANA's registries of special-purpose addresses, and multicast and reserved space (research/security.md C).
_SPECIAL_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only this is handed out for global unicast. IPv4 in IPv6 (::ffff:0:0/96), NAT64 (64:ff9b::/96 and 64:ff9b:1::/48),
# unique local, link-local, site-local and multicast addresses all lie outside.
_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
# Protocol assignments with Teredo, documentation, and 6to4, which carries any IPv4 address.
_SPECIAL_V6: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


@dataclass(frozen=True)
class AddressRule:
    """Public addresses at the usual ports, and the addresses that the operator allows, at any port."""

    allowed: tuple[Network, ...] = ()
    """beside the public ones: a setting's CIDRs (`web_address.networks`)"""
    ports: frozenset[int] = frozenset({80, 443})
    """at public addresses"""

    def permits(self, address: str, port: int) -> bool:
        """Whether this numeric address may be connected to at this port."""
        parsed = ipaddress.ip_address(address)
        if any(parsed.version == network.version and parsed in network for network in self.allowed):
            return True
        return port in self.ports and is_public(parsed)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is a global unicast address of no special range."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST_V6:
        return False
    return not any(address in network for network in _SPECIAL_V6)


def is_hopeless(address: WebAddress, rule: AddressRule) -> bool:
    """Whether a URL can be refused when it is given, before its name is ever resolved.

    Of a name that says where it leads, or a number. Other names are looked at each time that they are connected to.
    """
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        if address.host == "localhost" or address.host.endswith(".localhost"):
            return not rule.permits("127.0.0.1", address.port)
        return not rule.allowed and address.port not in rule.ports
    return not rule.permits(address.host, address.port)
