"""Imports the installed ultralytics with its network access, installers and evals switched off."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import tempfile
from functools import cache
from types import ModuleType
from typing import Any, Final

_GUARDS: Final = {
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}


@cache
def framework() -> ModuleType:
    """The installed `ultralytics` package, with its `nn.tasks` and `utils.nms` loaded.

    The caller sets YOLO_CONFIG_DIR to a private folder, where the package writes its settings; where it is not set, a
    folder for temporary files is made, so that nothing is written into the home. The safe mode decides that a
    description's `activation:` is parsed and not evaluated (research page security.md, A3); the package reads its
    variable once, so the flag is set as well in case something else imported it earlier.
    """
    os.environ.update(_GUARDS)
    if not os.environ.get("YOLO_CONFIG_DIR"):
        folder = os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="runaudit-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # torchvision must be there before the first NMS: the framework uses its kernel only if it is already imported.
    importlib.import_module("torchvision")
    importlib.import_module("ultralytics.utils.nms")
    tasks: Any = importlib.import_module("ultralytics.nn.tasks")
    tasks.SAFE_LOAD = True
    return importlib.import_module("ultralytics")
