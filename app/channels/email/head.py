"""The head of a message as its writer meant it, where a mailer on the way broke its lines."""

from __future__ import annotations

import re

_BEFORE = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:[ \t]*\r?\n)*")
_END = re.compile(rb"(?<=\n)\r?\n")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_SPACED_COLON = re.compile(rb"\A([!-9;-~]+)[ \t]+:")
# What follows a broken line is still the head where such a field is in it; any text may say "Note: ...".
_WELL_KNOWN = re.compile(
    rb"(?:from|to|cc|subject|date|message-id|in-reply-to|references|reply-to|return-path|delivered-to|received"
    rb"|sender|mime-version|content-type|content-transfer-encoding|dkim-signature)[ \t]*:",
    re.IGNORECASE,
)


def head_of(raw: bytes) -> bytes:
    """Everything before the first empty line."""
    return _END.split(raw, 1)[0]


def repaired(raw: bytes) -> bytes:
    """The message without what hides its headers; the same bytes where nothing does.

    That is a byte order mark or empty lines before them, a space before a colon, or a continued line that
    lost its indentation.
    """
    raw = _BEFORE.sub(b"", raw, count=1)
    head = head_of(raw)
    lines = head.split(b"\n")
    last = max((number for number, line in enumerate(lines) if _WELL_KNOWN.match(line)), default=0)
    for number, line in enumerate(lines[: last + 1]):
        lines[number] = _repaired_line(line, is_first=number == 0)
    return b"\n".join(lines) + raw[len(head) :]


def _repaired_line(line: bytes, *, is_first: bool) -> bytes:
    if line[:1] in (b" ", b"\t") or (is_first and line.startswith(b"From ") and not _FIELD.match(line)):
        return line
    return _SPACED_COLON.sub(rb"\1:", line, count=1) if _FIELD.match(line) else b" " + line
