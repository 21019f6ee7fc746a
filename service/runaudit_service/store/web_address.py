"""URLs that strangers name: read by one strict parser, so that no two readers can understand one differently.

A URL may hold a token in its path or query. So what is shown of one, `str(address)`, is its scheme, host and port only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

from runaudit.errors import InputError

MAX_CHARACTERS: Final = 4096
"""2,048 (research/security.md C) is too short for presigned URLs with a session token, which have up to about 2,500"""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSAFE: Final = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
"""what RFC 3986 has in no URL, a line end among it"""
_DIGEST: Final = re.compile(r"sha256=([0-9a-f]{64})")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class UrlNotAllowedError(InputError):
    """A URL that is malformed, or of a kind that is never fetched. Its sentence does not repeat the URL."""

    code = "url_not_allowed"
    title = "The URL can't be used"


@dataclass(frozen=True)
class WebAddress:
    """A checked URL of http or https, in parts. `host` is in lower case; an IPv6 literal has no brackets."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    """path and query, as sent"""
    sha256: str | None = None
    """the digest that the fragment `#sha256=` names"""

    @classmethod
    def parse(
        cls, url: str, *, schemes: Sequence[str] = ("https",), digest: bool = False, place: str | None = None
    ) -> Self:
        """Read a URL.

        Args:
            url: what someone wrote.
            schemes: those that may be used, of `http` and `https`.
            digest: whether a fragment `#sha256=<64 hexadecimal digits>` may follow; no other may.
            place: where the URL stands, for the error.

        Raises:
            UrlNotAllowedError: it can't be read in one way only, or may not be used.
        """
        if len(url) > MAX_CHARACTERS or _UNSAFE.search(url):
            raise _refused(
                f"A URL has at most {MAX_CHARACTERS} characters, all of them printable ASCII; escape others with %.",
                place,
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _refused("This is no URL: its host or port can't be read.", place) from None
        scheme = parts.scheme.lower()
        if scheme not in schemes:
            raise _refused(f"Only URLs of {' and '.join(schemes)} are used here.", place)
        if "@" in parts.netloc:
            raise _refused("A URL with a user name or password is not used; it would end in logs.", place)
        if port == 0 or parts.netloc.endswith(":"):
            raise _refused("The port of this URL can't be used.", place)
        host = _host(parts.netloc.lower(), place)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(scheme, host, port or _DEFAULT_PORTS[scheme], target, _digest(parts.fragment, digest, place))

    def join(self, location: str, *, schemes: Sequence[str]) -> WebAddress:
        """Where a redirect from here to `location` leads. A fragment of it is left out. Raises UrlNotAllowedError."""
        if len(location) > MAX_CHARACTERS or _UNSAFE.search(location):
            raise _refused("The server redirects to something that is no URL.", None)
        try:
            joined = urljoin(f"{self}{self.target}", location.partition("#")[0])
        except ValueError:
            raise _refused("The server redirects to something that is no URL.", None) from None
        return WebAddress.parse(joined, schemes=schemes)

    @property
    def authority(self) -> str:
        """What the header Host says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What two addresses have in common that may see each other's credentials."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def networks(cidrs: str) -> tuple[Network, ...]:
    """Networks from a setting: `10.1.0.0/16, fd00::/8`. A single address is a network of one. Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in cidrs.split(",") if part.strip())


def _host(netloc: str, place: str | None) -> str:
    if netloc.startswith("["):
        literal, _, rest = netloc[1:].partition("]")
        try:
            address = ipaddress.IPv6Address(literal)
        except ValueError:
            raise _refused("The IPv6 address of this URL can't be read.", place) from None
        if address.scope_id or (rest and not rest.startswith(":")):
            raise _refused("The IPv6 address of this URL can't be used.", place)
        return str(address)
    host = netloc.partition(":")[0]
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("The host of this URL is no name and no address; write an international one as xn--.", place)
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # Resolvers take 2130706433, 0x7f.1 and 017700000001 for 127.0.0.1; people who mean well write it plainly.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _refused("Write an IPv4 address as four decimal numbers.", place) from None
    return host


def _digest(fragment: str, wanted: bool, place: str | None) -> str | None:
    if not fragment:
        return None
    found = _DIGEST.fullmatch(fragment.lower()) if wanted else None
    if found is None:
        may = "A fragment is `#sha256=` with 64 hexadecimal digits" if wanted else "This URL may have no fragment"
        raise _refused(f"{may}.", place)
    return found[1]


def _refused(detail: str, place: str | None) -> UrlNotAllowedError:
    return UrlNotAllowedError(detail, place=place)
