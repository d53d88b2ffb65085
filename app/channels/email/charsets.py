"""Bytes of mail to text: what a charset's label means in practice, and what is done where it is wrong.

A label means its superset, as browsers read it (WHATWG Encoding Standard): mail labelled gb2312, shift_jis,
iso-8859-1 or ks_c_5601-1987 is GB 18030, Windows-31J, Windows-1252 or Windows-949. ``webencodings`` has the
standard's labels. A byte that does not fit spoils its character, never the text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator

import webencodings

from .. import _fields

# Python's own codecs, not charsets; punycode even takes quadratic time.
_NOT_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
# Where Python's codec is smaller than the standard's. Big5's own needs two of Python's.
_SUPERSETS = {"euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}
_READ_HERE = frozenset({"big5", "euc-jp", "iso-2022-jp"})
_MULTI_BYTE = _READ_HERE | {"cp932", "cp949", "gb18030"}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_META = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_META_REACH = 4096
_ESCAPE = re.compile(rb"\x1b(\$[@B]|\([BJI])")
# In seven bits these say more than any label: mailers write them and name UTF-8, or nothing.
_JAPANESE = re.compile(rb"\x1b\$[@B]")
# Mailers' own names for what the standard calls otherwise.
_CODE_PAGE = re.compile(r"(?:x-)?(?:ms-)?(?:cp|ms|win|windows)[-_]?([0-9]{3,4})")
_PAGES = {"932": "shift_jis", "936": "gbk", "949": "euc-kr", "950": "big5"}
_JAPANESE_NAME = re.compile(r"iso-2022-jp\b.*|cp5022[0-2]")
_LONG_UTF8 = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_EUC_JP = re.compile(rb"[\x00-\x8d\x90-\xa0]+|\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}|[\xa1-\xfe]{2}|.", re.DOTALL)
_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=")
_QUOTED_BYTE = re.compile(rb"=([0-9A-Fa-f]{2})")


def decode(raw: bytes, label: str | None) -> str:
    """The text of ``raw``, whose sender labelled it so; no byte order mark is part of it."""
    for mark, name in _BOMS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(name, "replace")
    if not _NOT_ASCII.search(raw) and b"\x1b" not in raw and _is_ascii_based(label):
        return raw.decode("ascii")
    if _JAPANESE.search(raw) and not _NOT_ASCII.search(raw):
        return "".join(_iso_2022_jp(raw))
    text = _as_labelled(raw, label)
    return _unlabelled(raw) if text is None else text.removeprefix("\ufeff")


def of_html(raw: bytes) -> str | None:
    """The charset that an HTML document names itself; a document that can be searched is not UTF-16."""
    meta = _META.search(raw[:_META_REACH])
    label = meta[1].decode("ascii") if meta else None
    return "utf-8" if label and label.lower().startswith("utf-16") else label


def header(value: str, label: str | None = None) -> str:
    """A header's text: RFC 2047 words, and raw bytes in the body's charset, UTF-8 or Windows-1252.

    Words of one charset that follow each other are decoded together: mailers cut characters in two.
    """
    parts: list[str] = []
    pending: list[bytes] = []
    charset, position = "", 0
    for word in _WORD.finditer(value):
        between = value[position : word.start()]
        name = word[1].partition("*")[0].lower()
        if pending and (name != charset or between.strip()):
            parts.append(decode(b"".join(pending), charset))
            pending.clear()
        if between.strip() or not position:
            parts.append(unescaped(between, label))
        pending.append(_word(word[2], word[3]))
        charset, position = name, word.end()
    if pending:
        parts.append(decode(b"".join(pending), charset))
    return "".join([*parts, unescaped(value[position:], label)])


def has_words(value: str, *, of: str) -> bool:
    """Whether encoded words of it stand in ``of`` as they are; others are a name that only looks so."""
    return any(word[0] in of for word in _WORD.finditer(value))


def unescaped(value: str, label: str | None) -> str:
    """Bytes that the email package handed out escaped."""
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _fields.clean(value)
    return raw.decode("utf-8") if is_utf8(raw) and b"\x1b" not in raw else decode(raw, label)


def _word(encoding: str, value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    if encoding in "qQ":
        return _QUOTED_BYTE.sub(lambda byte: bytes([int(byte[1], 16)]), raw.replace(b"_", b" "))
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    try:
        return base64.b64decode(letters[: len(letters) - (len(letters) % 4 == 1)] + b"==")
    except binascii.Error:
        return raw


def _is_ascii_based(label: str | None) -> bool:
    return (
        not (label or "").strip().lower().startswith(("utf-16", "utf-7", "utf-32", "hz", "unicode", "utf16"))
    )


def _as_labelled(raw: bytes, label: str | None) -> str | None:
    """The text as its label has it; None where there is no such charset, or it is plainly another."""
    name = _codec(label)
    if name is None or name == "utf-8":
        return None
    may_be_utf8 = _NOT_ASCII.search(raw) is not None and is_utf8(raw)
    # Two long characters in a row are hardly ever UTF-8 by chance.
    if may_be_utf8 and (name not in _MULTI_BYTE or len(_LONG_UTF8.findall(raw)) > 1):
        return None
    text = _read_as(raw, name)
    return None if may_be_utf8 and _spoiled(text) else text


def _read_as(raw: bytes, name: str) -> str:
    if name == "iso-2022-jp":
        return "".join(_iso_2022_jp(raw))
    if name == "euc-jp":
        return "".join(_euc_jp(raw))
    if name == "big5":
        return min((_decoded(raw, codec) for codec in ("big5hkscs", "cp950")), key=_spoiled)
    return _decoded(raw, name)


def _codec(label: str | None) -> str | None:
    """Python's name of a charset that the label means."""
    name = (label or "").strip().strip("\"'").lower()
    return _of_the_standard(name) or _of_python(name) or _of_the_standard(_respelt(name))


def _of_the_standard(name: str) -> str | None:
    encoding = webencodings.lookup(name) if name.isascii() else None
    if encoding is None or encoding.name in ("replacement", "x-user-defined"):
        return None
    codec_name: str = encoding.codec_info.name
    return encoding.name if encoding.name in _READ_HERE else _SUPERSETS.get(encoding.name, codec_name)


def _of_python(name: str) -> str | None:
    try:
        codec = codecs.lookup(name)
        is_charset = isinstance(b"text".decode(name, "replace"), str)
    except (LookupError, TypeError, ValueError):
        return None
    is_charset = is_charset and codec.name not in _NOT_CHARSETS
    return _SUPERSETS.get(codec.name, codec.name) if is_charset else None


def _respelt(name: str) -> str:
    if _JAPANESE_NAME.fullmatch(name):
        return "iso-2022-jp"
    page = _CODE_PAGE.fullmatch(name)
    return _PAGES.get(page[1], f"windows-{page[1]}") if page else name.replace("latin-", "l")


def _decoded(raw: bytes, codec: str) -> str:
    try:
        return raw.decode(codec, "replace")
    except ValueError:
        # UTF-16 and stateful codecs may refuse even so.
        return raw.decode("utf-8", "replace")


def _unlabelled(raw: bytes) -> str:
    """UTF-8 where it is or almost is; bytes without a single such character are Windows-1252."""
    text = raw.decode("utf-8", "replace")
    if not _spoiled(text) or any(letter > "\x7f" and letter != "\ufffd" for letter in text):
        return text.removeprefix("\ufeff")
    return raw.decode("cp1252", "replace")


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _spoiled(text: str) -> int:
    return text.count("\ufffd")


def _iso_2022_jp(raw: bytes) -> Iterator[str]:
    """Its two-byte characters are those of Windows-31J, which mailers write with these escapes too."""
    pieces = _ESCAPE.split(raw)
    yield _decoded(pieces[0], "cp932")
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if escape.startswith(b"$"):
            yield _two_byte(piece)
        elif escape == b"(I":
            yield _decoded(bytes(byte | 0x80 for byte in piece), "cp932")
        else:
            yield _decoded(piece, "cp932")


def _two_byte(piece: bytes) -> str:
    """A run in which two bytes are a character; a line's end ends the run (RFC 1468)."""
    letters: list[bytes] = []
    position = 0
    while position < len(piece):
        pair = piece[position : position + 2]
        if len(pair) == 2 and all(0x21 <= byte <= 0x7E for byte in pair):
            letters.append(_shift_jis(*pair))
            position += 2
        else:
            letters.append(pair[:1])
            position += 1
    return _decoded(b"".join(letters), "cp932")


def _euc_jp(raw: bytes) -> Iterator[str]:
    for token in _EUC_JP.findall(raw):
        if len(token) == 2 and token[0] > 0x8E:
            yield _decoded(_shift_jis(token[0] & 0x7F, token[1] & 0x7F), "cp932")
        else:
            yield _decoded(token, "euc_jp")


def _shift_jis(row: int, cell: int) -> bytes:
    """A JIS X 0208 character's two bytes as Shift_JIS moves them."""
    lead = (row - 0x21) // 2 + (0x81 if row < 0x5F else 0xC1)
    trail = cell + (0x1F if cell < 0x60 else 0x20) if row % 2 else cell + 0x7E
    return bytes((lead, trail))
