"""What of a run changes how its data set is read: a data set's facts are kept and found again by these."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Literal

from runaudit.runs.base import Facts

Geometry = Literal["polygons", "keypoints"]
"""what a task needs behind each box: the polygon (masks and rotated boxes), or the keypoints"""
Verification = Literal["files", "pixels"]
"""how images are looked at whole: by the structure of their files, or by decoding them too"""


class DataOptions(Facts):
    """The options of one reading.

    `named` is the file name of the data.yaml that the training was started with, "" if it says none: of several, that
    one is read. `single_cls` takes every class for class 0, as the training did. With `class_folders` the data are a
    classifier's, a tree of folders, and `named` is the folder's own name. With `verify` None images are opened for
    their headers only. `geometry` is read where the task needs more than boxes.
    """

    named: str = ""
    single_cls: bool = False
    class_folders: bool = False
    verify: Verification | None = None
    geometry: Geometry | None = None

    def among(self, yaml_names: Collection[str]) -> DataOptions:
        """These options for data whose YAML files are called `yaml_names`: a name that none has makes no difference."""
        return self if self.class_folders or self.named in yaml_names else self.model_copy(update={"named": ""})

    def key(self) -> str:
        """A name for a file, the same for the same options."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]
