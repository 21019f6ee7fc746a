"""URLs that webhooks may go to, as far as that can be told when they are given; the sender looks again each time."""

from __future__ import annotations

from runaudit_service.store.address_rule import is_hopeless
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import UrlNotAllowedError, WebAddress


def require_allowed(url: str, settings: Settings, place: str) -> None:
    """Raises UrlNotAllowedError for what is no plain https URL, or leads to an address that is never connected to."""
    schemes = ("https", "http") if settings.webhook_allow_http else ("https",)
    address = WebAddress.parse(url, schemes=schemes, place=place)
    if is_hopeless(address, settings.webhook_rule):
        raise UrlNotAllowedError(
            f"{address.host} is not a public address at port 80 or 443; others are named in "
            "RUNAUDIT_WEBHOOK_ALLOW_CIDRS.",
            place=place,
        )
