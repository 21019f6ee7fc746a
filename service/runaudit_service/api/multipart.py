"""multipart/form-data read as it arrives: files go straight to the blob store, nothing is held or spooled whole."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from runaudit_service.api.bodies import require_json_size
from runaudit_service.api.errors import InvalidRequestError, MalformedError
from runaudit_service.store.blobs import BlobStore, BlobWriter

MULTIPART_TYPE: Final = "multipart/form-data"
FILE_PARTS: Final = ("artifact", "data")
JSON_PART: Final = "request"
MAX_FILE_NAME: Final = 255


@dataclass(frozen=True)
class Upload:
    """A file part: its bytes are in the writer, not committed yet. `file_name` is a bare name, only for people."""

    writer: BlobWriter
    file_name: str | None


@dataclass
class Submission:
    """The parts of one request, in whatever order they came."""

    files: dict[str, Upload] = field(default_factory=dict)
    request: bytes | None = None


@dataclass(frozen=True)
class _Token:
    """What the parser saw next. `data` of a `begin` is its Content-Disposition."""

    kind: Literal["begin", "data", "end"]
    data: bytes = b""


class _Tokens:
    """Turns the parser's callbacks into a list, so that the reader can wait for the disk between them."""

    def __init__(self, boundary: str) -> None:
        self.pending: list[_Token] = []
        self.complete = False
        self._name = b""
        self._value = b""
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": lambda: self.pending.append(_Token("begin", self._disposition)),
                "on_part_data": lambda data, start, end: self.pending.append(_Token("data", data[start:end])),
                "on_part_end": lambda: self.pending.append(_Token("end")),
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[_Token]:
        """The tokens of the next bytes. Raises FormParserError."""
        self._parser.write(chunk)
        tokens, self.pending = self.pending, []
        return tokens

    def _begin(self) -> None:
        self._disposition = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _end(self) -> None:
        self.complete = True


class _Reader:
    """Sorts tokens into the parts of a submission."""

    def __init__(self, blobs: BlobStore, max_bytes: int, stack: AsyncExitStack) -> None:
        self.submission = Submission()
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._stack = stack
        self._writer: BlobWriter | None = None
        self._json: bytearray | None = None

    async def take(self, token: _Token) -> None:
        if token.kind == "begin":
            await self._begin(token.data)
        elif token.kind == "data":
            await self._data(token.data)
        else:
            self._end()

    async def _begin(self, disposition: bytes) -> None:
        name, file_name = _part_names(disposition)
        if name in self.submission.files or (name == JSON_PART and self.submission.request is not None):
            raise InvalidRequestError(
                f"The part {name} may come once.", code="multipart_duplicate_part", place=f"/{name}"
            )
        if name == JSON_PART:
            self._json = bytearray()
        elif name in FILE_PARTS:
            self._writer = await self._stack.enter_async_context(self._blobs.writer(self._max_bytes))
            self.submission.files[name] = Upload(self._writer, file_name)
        else:
            raise InvalidRequestError(
                f"There is no part {name!r}; the parts are artifact, data and request.", code="multipart_unknown_part"
            )

    async def _data(self, data: bytes) -> None:
        if self._writer is not None:
            await self._writer.write(data)
        elif self._json is not None:
            self._json += data
            require_json_size(len(self._json))

    def _end(self) -> None:
        if self._json is not None:
            self.submission.request = bytes(self._json)
        self._writer = self._json = None


async def read_submission(
    request: Request, boundary: str, blobs: BlobStore, max_bytes: int, stack: AsyncExitStack
) -> Submission:
    """Read the parts `artifact`, `data` and `request` of a body.

    The writers of the files live as long as `stack`; the caller commits them. `max_bytes` is the limit of each file.
    Raises MalformedError, InvalidRequestError, ArtifactTooLargeError, StorageFullError and BodyTooLargeError.
    """
    try:
        tokens = _Tokens(boundary)
        reader = _Reader(blobs, max_bytes, stack)
        async for chunk in request.stream():
            for token in tokens.feed(chunk):
                await reader.take(token)
            if tokens.complete:
                return reader.submission
    except FormParserError as error:
        raise MalformedError(f"The multipart body can't be read: {error}", code="multipart_malformed") from None
    raise MalformedError("The multipart body ends before its last boundary.", code="multipart_malformed")


def _part_names(disposition: bytes) -> tuple[str, str | None]:
    """The name of a part and, if it has one, its file name without folders and control characters."""
    _, options = parse_options_header(disposition)
    if b"name" not in options:
        raise MalformedError("A part of the multipart body has no name.", code="multipart_malformed")
    name = options[b"name"].decode("utf-8", "replace")
    if b"filename" not in options:
        return name, None
    written = options[b"filename"].decode("utf-8", "replace").replace("\\", "/")
    bare = "".join(character for character in PurePosixPath(written).name if character.isprintable())
    return name, bare[:MAX_FILE_NAME] or None
