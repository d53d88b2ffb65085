"""Where the content of attachments goes: a function of the caller's, or a folder."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import tempfile
import unicodedata
from pathlib import Path
from typing import Protocol

from ..errors import InvalidPayload, StorageUnavailable
from ..schemas import Attachment

_MAX_NAME_BYTES = 120
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_ENDING = re.compile(r"[A-Za-z0-9]{1,16}")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


class Store(Protocol):
    """Keeps a file's content and returns the address of it.

    It may refuse one with InvalidPayload: the message is read without it. It is called before the message is
    stored, and again for a redelivery, so it must be safe to call twice.
    """

    def __call__(self, attachment: Attachment, content: bytes, /) -> str: ...


class FolderStore:
    """Keeps files below a folder, each under the hash of its content: what comes twice is there once."""

    def __init__(self, folder: Path | str, *, max_bytes: int = 25_000_000) -> None:
        self._folder = Path(folder).absolute()
        self._max_bytes = max_bytes

    def __call__(self, attachment: Attachment, content: bytes, /) -> str:
        """Write the content, unless it is there, and return its ``file:`` URL.

        Raises:
            InvalidPayload: it is larger than ``max_bytes``.
            StorageUnavailable: the folder cannot be written to.
        """
        if len(content) > self._max_bytes:
            raise InvalidPayload("attachment", f"is larger than {self._max_bytes:,} bytes")
        digest = hashlib.sha256(content).hexdigest()
        path = self._folder / digest[:2] / digest / safe_name(attachment)
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, content)
        except OSError as error:
            reason = error.strerror or "the folder cannot be used"
            raise StorageUnavailable(f"attachments cannot be stored: {reason}") from None
        return path.as_uri()


def safe_name(attachment: Attachment) -> str:
    """A name that is safe in every file system, for whatever the sender called the file.

    No folder, no control or direction characters (which make ``gpj.exe`` look like ``exe.jpg``), no device of
    Windows, no hidden file; the ending stays, and without one it is the media type's.
    """
    written = unicodedata.normalize("NFC", attachment.filename or "")
    visible = "".join(letter for letter in written if unicodedata.category(letter)[0] != "C")
    name = _FORBIDDEN.sub("_", visible).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if not dot or not _ENDING.fullmatch(ending):
        stem, ending = name, (mimetypes.guess_extension(attachment.media_type) or "").lstrip(".")
    ending = f".{ending}" if ending else ""
    room = _MAX_NAME_BYTES - len(ending.encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") or "file"
    return f"_{stem}{ending}" if _DEVICES.fullmatch(f"{stem}{ending}") else f"{stem}{ending}"


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, whoever writes the same at the same time."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
