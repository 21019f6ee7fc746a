"""What an API deletes of its own disk, where no reaper may reach: what killed writers and clients that left, leave."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runaudit_service.api.resources import Resources

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 3600.0
"""nobody waits for it, and what it looks for is a day old"""
SLACK_SECONDS: Final = 24 * 3600.0
"""beyond the time of an upload, after which its row is gone: whatever another replica did with it is over by then"""


async def keep_tidy(shared: Resources) -> None:
    """Now and every hour, until it is cancelled."""
    while True:
        try:
            await asyncio.to_thread(shared.blobs.remove_abandoned)
            expiry = shared.settings.upload_expiry_seconds
            await asyncio.to_thread(shared.staging.remove_untouched, expiry + SLACK_SECONDS)
        except OSError as error:
            logger.warning("what was left of uploads can't be removed: %s", error)
        await asyncio.sleep(PAUSE_SECONDS)
