"""The guarded transport: HTTP to addresses that strangers name, without reaching what they must not reach.

A name is resolved once; every address that it has must be public (`addresses`), or lie in a network of the allow list;
the connection goes to such an address, with the name for TLS and Host. No proxies, cookies, redirects, compression or
credentials of the environment. Each exchange has an end in time, and each answer one in size; headers may have 100 KiB
(h11's bound).

    GuardedClient(*, allow=(), allow_http=False, ports=(80, 443), ca_file=None, resolver=resolve)
        .request(method, url, *, seconds, max_bytes, headers=None, content=b"", should_stop=...) -> Answer
        .stream(same) -> context manager of StreamedAnswer: status, headers, length, chunks()
    AsyncGuardedClient(*, the same, connections=64): async context manager, keeps connections
        await .request(method, url, *, seconds, max_bytes, headers=None, content=b"", truncate=False) -> Answer
    Answer: status, headers (httpx.Headers), body

`allow` is `web_address.networks(setting)`. `url` is text or a WebAddress. Errors: UrlNotAllowedError
(`url_not_allowed`), and EgressError as EgressRefusedError (would end the same again) or EgressFailedError (may pass).
Their sentences name a host, never a URL.
"""

from runaudit_service.store.address_rule import AddressRule
from runaudit_worker.guarded.addresses import resolve
from runaudit_worker.guarded.client import Answer, AsyncGuardedClient, GuardedClient, StreamedAnswer
from runaudit_worker.guarded.errors import EgressError, EgressFailedError, EgressRefusedError

__all__ = [
    "AddressRule",
    "Answer",
    "AsyncGuardedClient",
    "EgressError",
    "EgressFailedError",
    "EgressRefusedError",
    "GuardedClient",
    "StreamedAnswer",
    "resolve",
]
