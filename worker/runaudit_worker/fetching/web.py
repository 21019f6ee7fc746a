"""Artifacts by https:// (and http:// where the operator allows it)."""

from __future__ import annotations

from runaudit_service.store.web_address import WebAddress
from runaudit_worker.fetching.download import Downloader
from runaudit_worker.fetching.fetcher import Sink, Terms


class WebFetcher:
    """Fetches a URL as anybody would: without credentials."""

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader

    def fetch(self, source: WebAddress, sink: Sink, terms: Terms) -> None:
        self._downloader.file(source, sink, terms)
