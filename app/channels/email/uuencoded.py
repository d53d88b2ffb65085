"""Files that old mailers write into the text itself, between ``begin`` and ``end`` (POSIX, uuencode)."""

from __future__ import annotations

import binascii
import mimetypes
import re
from typing import NamedTuple

_BLOCK = re.compile(
    rb"^begin [0-7]{3,4} ([^\r\n]{1,200})\r?\n((?:[\x20-\x60]{1,64}\r?\n)+)end[ \t]*(?:\r?\n|\Z)",
    re.MULTILINE,
)


class Written(NamedTuple):
    """A file as it stood in a text."""

    name: str
    media_type: str
    content: bytes


def taken_out(text: bytes) -> tuple[bytes, list[Written]]:
    """The text without the files in it, and these."""
    files: list[Written] = []

    def taken(block: re.Match[bytes]) -> bytes:
        content = _content(block[2])
        if content is None:
            return block[0]
        name = block[1].decode("utf-8", "surrogateescape").strip()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        files.append(Written(name, kind, content))
        return b""

    return _BLOCK.sub(taken, text), files


def _content(lines: bytes) -> bytes | None:
    """What the lines hold; None where one is not as long as it says, since people write ``begin`` too."""
    pieces = []
    for line in lines.splitlines():
        written = (line[0] - 0x20) & 0x3F
        if not -2 <= len(line) - 1 - (written + 2) // 3 * 4 <= 1:
            return None
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:
            return None
    return b"".join(pieces)
