"""What a worker and its fork server send each other; neither needs to load what the other loads."""

from __future__ import annotations

import struct
from typing import Final

from runaudit.isolation.folder import ChildName
from runaudit.runs.base import Facts

ORDER_BYTES: Final = 1 << 16
"""the most that an order takes, in bytes"""

CODE: Final = struct.Struct("=i")
"""a child's exit code on its line, as Popen has it"""


class Order(Facts):
    """A child that is wanted. What is to be done is in its folder: later children may find orders in their memory."""

    stage: ChildName
    folder: str
    environment: dict[str, str]
    """the whole of it"""
