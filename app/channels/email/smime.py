"""The message within a signed one that is no text for other programs (S/MIME's opaque form, RFC 8551).

Outlook sends it where clear signatures are switched off. The signature is not checked and proves nothing.
"""

from __future__ import annotations

_DATA = bytes.fromhex("06092a864886f70d010701")
_EXPLICIT, _STRING, _STRING_IN_PIECES = 0xA0, 0x04, 0x24
_INDEFINITE = -1


def signed_content(raw: bytes) -> bytes | None:
    """What a CMS SignedData (RFC 5652) holds; None where it is encrypted, or cannot be read."""
    start = raw.find(_DATA)
    if start < 0:
        return None
    try:
        tag, _, position = _header(raw, start + len(_DATA))
        if tag != _EXPLICIT:
            return None
        tag, length, position = _header(raw, position)
        if tag == _STRING:
            return raw[position : position + length]
        return b"".join(_pieces(raw, position)) if tag == _STRING_IN_PIECES else None
    except IndexError:
        return None


def _pieces(raw: bytes, position: int) -> list[bytes]:
    pieces = []
    while position < len(raw):
        tag, length, position = _header(raw, position)
        if tag != _STRING or length == _INDEFINITE:
            break
        pieces.append(raw[position : position + length])
        position += length
    return pieces


def _header(raw: bytes, position: int) -> tuple[int, int, int]:
    """A value's tag and length, and where it begins (X.690)."""
    tag, length = raw[position], raw[position + 1]
    position += 2
    if length == 0x80:
        return tag, _INDEFINITE, position
    if length > 0x80:
        size = length & 0x7F
        return tag, int.from_bytes(raw[position : position + size]), position + size
    return tag, length, position
