"""What torch finds on this machine, as JSON; a process of its own, so that `runaudit doctor` starts without torch."""

from __future__ import annotations

import json
import sys
from typing import Any


def accelerators() -> dict[str, Any]:
    """The version of torch, of its CUDA, and the devices with their memory in bytes."""
    import torch  # noqa: PLC0415

    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "devices": [{"name": device.name, "memory_bytes": device.total_memory} for device in devices],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(accelerators()))
