"""Opens the zip that torch.save writes, and refuses every other zip.

torch.save stores all members unpacked below one folder named after the file: `data.pkl`, one file a storage below
`data/`, and a few short ones (`version`, `byteorder`, ...). Everything that its writer
(caffe2/serialize/inline_container.cc) never does is refused here, since torch.load and scanners read such files
differently.
"""

from __future__ import annotations

from typing import BinaryIO

from runaudit.errors import ArchiveError, CheckpointError
from runaudit.runs.zip_directory import STORED, ZipMember, data_span, read_data, read_directory

_MEMBERS = 100_000
"""yolov8x with its optimizer has about 2,000 storages"""
_PICKLE_BYTES = 32 * 2**20
"""data.pkl of yolov8n has 0.1 MB, that of an unstripped yolov8x about 1 MB"""


class TorchZip:
    """The members of a checkpoint in `file`, a regular file of `size` bytes that the caller keeps open.

    Raises CheckpointError: checkpoint_truncated, checkpoint_zip (anything torch.save does not write),
    checkpoint_torchscript, checkpoint_unsupported (big-endian), checkpoint_limit.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        try:
            directory = read_directory(file, size, max_members=_MEMBERS)
            starts = [member.offset for member in directory.members[1:]] + [directory.end]
            spans = [data_span(file, member, after) for member, after in zip(directory.members, starts, strict=True)]
        except ArchiveError as error:
            raise _translated(error) from error
        if directory.comment:
            raise _refused("it has a comment")
        self._root = _root(directory.members)
        self._members: dict[str, tuple[ZipMember, int]] = {}
        folded: set[str] = set()
        for member, start in zip(directory.members, spans, strict=True):
            name = member.name.removeprefix(self._root)
            if name.casefold() in folded:
                raise _refused(f"it holds {name[:80]!a} twice")
            folded.add(name.casefold())
            self._members[name] = member, start
        self._check_kind()

    @property
    def pickle(self) -> bytes:
        """The pickle `data.pkl`. Raises CheckpointError checkpoint_limit or checkpoint_checksum."""
        return self._read("data.pkl", _PICKLE_BYTES)

    def storage_size(self, key: str) -> int | None:
        """Bytes of the storage `key`; None if there is none."""
        found = self._members.get(f"data/{key}")
        return None if found is None else found[0].size

    def storage(self, key: str) -> bytes:
        """The bytes of the storage `key`. Raises CheckpointError checkpoint_checksum, or KeyError."""
        name = f"data/{key}"
        return self._read(name, self._members[name][0].size)

    def _check_kind(self) -> None:
        if "constants.pkl" in self._members or any(name.startswith("code/") for name in self._members):
            raise CheckpointError(
                "This is a TorchScript export. Send the .pt that the training wrote.", code="checkpoint_torchscript"
            )
        if "data.pkl" not in self._members:
            raise _refused("it holds no data.pkl")
        if "byteorder" in self._members and self._read("byteorder", 16) != b"little":
            raise CheckpointError("The checkpoint was written big-endian.", code="checkpoint_unsupported")

    def _read(self, name: str, most: int) -> bytes:
        member, start = self._members[name]
        if member.size > most:
            raise CheckpointError(f"The checkpoint's {name} has {member.size} bytes.", code="checkpoint_limit")
        try:
            return b"".join(read_data(self._file, member, start))
        except ArchiveError as error:
            raise _translated(error) from error


def _root(members: tuple[ZipMember, ...]) -> str:
    """The one folder that all members lie in, with its slash."""
    for member in members:
        if member.method != STORED or member.packed != member.size:
            raise _refused(f"its member {member.name[:80]!a} is packed")
    roots = {member.name.split("/", 1)[0] for member in members if "/" in member.name}
    if len(roots) != 1 or any("/" not in member.name for member in members):
        raise _refused("its members do not lie in one folder")
    if sum(member.name.casefold().endswith("data.pkl") for member in members) > 1:
        raise _refused("it holds more than one data.pkl")
    return f"{roots.pop()}/"


def _refused(why: str) -> CheckpointError:
    return CheckpointError(f"torch.save did not write this zip: {why}.", code="checkpoint_zip")


def _translated(error: ArchiveError) -> CheckpointError:
    codes = {
        "archive_truncated": "checkpoint_truncated",
        "archive_checksum": "checkpoint_checksum",
        "archive_too_many_members": "checkpoint_limit",
    }
    return CheckpointError(error.detail, code=codes.get(error.error_code, "checkpoint_zip"))
