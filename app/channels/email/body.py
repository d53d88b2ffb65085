"""The text and the files of a MIME message."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from email.message import EmailMessage, MIMEPart
from typing import NamedTuple

from ...schemas import Attachment
from .. import _fields
from . import charsets, flowed, html_mail, marks, mime, smime, uuencoded

_TEXTS = frozenset(
    {"text/enriched", "text/html", "text/markdown", "text/plain", "text/richtext", "text/x-markdown"}
)
# Another form of the same message (AMP), or nothing that was said.
_DROPPED = frozenset({"text/x-amp-html", "text/x-watch-html"})
_TEXT_OR_FILE = frozenset({"application/octet-stream", "application/text", "application/x-text"})
# Text for programs; what else is text/... and all that a mail holds was meant to be read.
_FOR_PROGRAMS = frozenset(
    {"text/calendar", "text/css", "text/csv", "text/directory", "text/javascript", "text/rtf", "text/vcard"}
    | {"text/rfc822-headers", "text/x-vcalendar", "text/x-vcard", "text/xml"}
)
_REPORTS = frozenset({"multipart/report"})
_SIGNED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_ENCLOSED = frozenset({"message/global", "message/news", "message/partial", "message/rfc822"})
# What programs write into the plain text of a mail whose words are in the HTML only.
_STAND_IN = re.compile(r"(?<![a-z])html(?![a-z])", re.IGNORECASE)
_MAX_STAND_IN = 250
_FAR_LONGER = 3
_WORDS = re.compile(r"\w+")
_UNSEEN = frozenset({"Cc", "Cf", "Cn"})
_MAX_FORWARDED_DEPTH = 3
_PREFERENCE = {"text/plain": 0, "text/html": 1}


class File(NamedTuple):
    """A part that is no text, with its content where the mail has it."""

    facts: Attachment
    content: bytes | None


class Body:
    """What a message holds: ``text`` as it is shown, ``marked`` for telling what is new in it, and files."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.pictures: list[str] = []
        self.has_pictures = False
        self.is_forward = False
        self.charset: str | None = None
        """Of bytes in the names of files."""
        self.text = ""
        self.marked = ""
        self.other_marked = ""
        """The same message, where each text that was sent in two forms is in its other one."""

    def notice(self) -> str:
        """What stands for the text of a message that has none."""
        shown = [picture for picture in self.pictures if picture]
        if shown:
            return f"The message has no text, only pictures: {', '.join(shown)}"
        if self.files:
            return _fields.notice([file.facts for file in self.files])
        return "The message has no text, only pictures" if self.has_pictures else ""


class _Text(NamedTuple):
    kind: str
    marked: str
    other: str | None = None
    """The HTML that was sent beside a plain one, or the other way round."""


def read(message: EmailMessage) -> Body:
    """The text of a message and all its parts; whatever is no text is among the files.

    Of alternatives the plain one counts, unless it says nothing; other texts follow each other. A message
    within the message is readable text and a file. Text with a name is a file, unless there is no other.
    """
    body = Body()
    body.charset = charset_of(message)
    texts = _read(message, body, is_root=True)
    if not any(map(_is_shown, texts)):
        texts = _named_text(message, body)
    body.marked = _joined(text.marked for text in texts)
    body.other_marked = _joined(text.marked if text.other is None else text.other for text in texts)
    body.text = marks.without(body.marked).strip()
    return body


def charset_of(message: EmailMessage) -> str | None:
    """The charset of the first text that names one: that of bytes in its headers, too."""
    for part in mime.parts(message):
        if mime.media_type(part).startswith("text/") and (charset := _charset(part)):
            return charset
    return None


def _read(part: MIMEPart, body: Body, *, is_root: bool = False, depth: int = 0) -> list[_Text]:
    kind = mime.media_type(part)
    if kind in _ENCLOSED and part.is_multipart():
        return _enclosed(part, body, kind, depth)
    if kind.startswith("multipart/") and not part.is_multipart():
        part = mime.with_its_boundary(part) or part
    if kind.startswith("multipart/") and part.is_multipart():
        # What came back with a bounce are our own words: a file only.
        depth = _MAX_FORWARDED_DEPTH if kind in _REPORTS else depth
        texts = [_read(child, body, depth=depth) for child in part.iter_parts()]
        if kind == "multipart/alternative":
            return _preferred(texts)
        return [text for several in texts for text in several]
    return [] if kind in _DROPPED else _leaf(part, body, kind, is_root=is_root, depth=depth)


def _leaf(part: MIMEPart, body: Body, kind: str, *, is_root: bool, depth: int) -> list[_Text]:
    """A part without parts: text, or a file, which may hold the message that it signs."""
    payload = mime.payload(part)
    if payload is not None and _is_text(part, kind, payload, is_root=is_root):
        return [_decoded(part, kind, payload, body)]
    facts = Attachment(
        filename=_filename(part, body.charset),
        media_type=_fields.media_type(kind),
        size=None if payload is None else len(payload),
    )
    body.files.append(File(facts, payload))
    signed = smime.signed_content(payload) if payload and kind in _SIGNED and not depth else None
    return [] if signed is None else _read(mime.parsed(signed), body, depth=depth + 1)


def _preferred(alternatives: list[list[_Text]]) -> list[_Text]:
    """The plain one that says something, else the HTML, else the first that is not blank.

    Some programs write a plain one that only asks for HTML, or says something else: then both count.
    """
    written = [texts for texts in alternatives if any(map(_is_shown, texts))]
    preferred = min(written, key=lambda texts: _PREFERENCE.get(texts[0].kind, 2), default=[])
    page = next((texts for texts in written if texts[0].kind == "text/html"), preferred)
    if page is not preferred and _asks_for_html(preferred):
        preferred = page
    elif page is not preferred and _says_something_else(preferred, page):
        return preferred + page
    other = _joined(text.marked for texts in written if texts is not preferred for text in texts)
    if not preferred or not other:
        return preferred
    return [_Text(preferred[0].kind, _joined(text.marked for text in preferred), other)]


def _is_shown(text: _Text) -> bool:
    """Whether anything of it can be seen: some programs write a space of no width where others write none."""
    return any(
        not letter.isspace() and unicodedata.category(letter) not in _UNSEEN
        for letter in marks.without(text.marked)
    )


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, texts))


def _asks_for_html(texts: list[_Text]) -> bool:
    text = _joined(text.marked for text in texts)
    return len(text) <= _MAX_STAND_IN and _STAND_IN.search(text) is not None


def _says_something_else(texts: list[_Text], page: list[_Text]) -> bool:
    """Whether a text has hardly a word of a far longer HTML."""
    words, shown = (
        set(_WORDS.findall(_joined(text.marked for text in several).casefold())) for several in (texts, page)
    )
    return _FAR_LONGER * len(words) < len(shown) and len(words & shown) * 2 < len(words)


def _is_text(part: MIMEPart, kind: str, payload: bytes, *, is_root: bool) -> bool:
    if mime.tolerant(part.get_content_disposition, None) == "attachment":
        return False
    if is_root and kind in _TEXT_OR_FILE and not _filename(part):
        return b"\0" not in payload and charsets.is_utf8(payload)
    # A multipart without parts has lost its boundary: what it holds is read as text.
    is_readable = kind.startswith("text/") and kind not in _FOR_PROGRAMS | _DROPPED
    return (is_readable or kind.startswith("multipart/")) and not _filename(part)


def _named_text(message: EmailMessage, body: Body) -> list[_Text]:
    """The first text with a file's name, or without one: a mailer named or attached the message itself.

    Of a text that is attached under a name and is all there is, nobody can tell: it is a file, too.
    """
    for part in mime.parts(message):
        is_attached = mime.tolerant(part.get_content_disposition, None) == "attachment"
        is_named = bool(_filename(part))
        is_file = is_attached and is_named
        is_message = (is_attached or is_named) and (not is_file or part is message)
        is_message = is_message and mime.media_type(part) in _TEXTS
        payload = mime.payload(part) if is_message else None
        if payload and (text := _decoded(part, mime.media_type(part), payload, body)).marked:
            if not is_file:
                body.files = [
                    file for file in body.files if file.content is not payload and file.content != payload
                ]
            return [text]
    return []


def _decoded(part: MIMEPart, kind: str, payload: bytes, body: Body) -> _Text:
    label = _charset(part)
    if kind == "text/html":
        if label is None or label.lower() == "us-ascii":
            label = charsets.of_html(payload) or label
        text, pictures = html_mail.read(_lines(charsets.decode(payload, label)))
        body.pictures += pictures
        body.has_pictures |= bool(pictures)
        return _Text(kind, text)
    payload, files = uuencoded.taken_out(payload)
    for file in files:
        name = _fields.one_line(charsets.header(file.name, label), _fields.MAX_NAME)
        facts = Attachment(filename=name, media_type=file.media_type, size=len(file.content))
        body.files.append(File(facts, file.content))
    written = marks.without(_lines(charsets.decode(payload, label)))
    if mime.parameter(part, "format") == "flowed":
        written = flowed.joined(written, deletes_space=mime.parameter(part, "delsp") == "yes")
    return _Text(kind, written.strip())


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _enclosed(part: MIMEPart, body: Body, kind: str, depth: int) -> list[_Text]:
    """A message that came as a file: readable text under the line that mail programs write, and a file."""
    message = mime.enclosed(part)
    label = charset_of(message)
    head = {name: _header(message, name, label) for name in ("From", "Date", "Subject")}
    content = mime.as_bytes(message)
    filename = _filename(part, body.charset) or (f"{head['Subject'][:80]}.eml" if head["Subject"] else None)
    size = None if content is None else len(content)
    body.files.append(File(Attachment(filename=filename, media_type=kind, size=size), content))
    if depth >= _MAX_FORWARDED_DEPTH:
        return []
    body.is_forward = True
    inner = Body()
    inner.charset = label
    texts = _read(message, inner, depth=depth + 1)
    body.files += inner.files
    lines = [
        "---------- Forwarded message ----------",
        *(f"{name}: {value}" for name, value in head.items() if value),
    ]
    text = marks.without("\n\n".join(text.marked for text in texts if text.marked))
    return [_Text("text/plain", "\n".join([*lines, "", text]).strip())]


def _header(message: EmailMessage, name: str, label: str | None) -> str:
    value = next(iter(mime.as_delivered(message, name)), "")[: mime.MAX_HEADER]
    return _fields.one_line(charsets.header(value, label), _fields.MAX_SUBJECT) or ""


def _filename(part: MIMEPart, label: str | None = None) -> str | None:
    """RFC 2231, or the RFC 2047 words or bytes that mailers put there against its section 5.

    Who gives both gives the former for those who read it.
    """
    for header, name in (("Content-Disposition", "filename"), ("Content-Type", "name")):
        values = _parameters(part, name, header)
        value = next((value for value in values if isinstance(value, tuple)), next(iter(values), ""))
        if isinstance(value, tuple) and value[0]:
            text = _extended(value)
        else:
            text = charsets.header(value[2] if isinstance(value, tuple) else value, _charset(part) or label)
        line = _fields.one_line(text, _fields.MAX_NAME)
        if line:
            return line
    return None


def _parameters(part: MIMEPart, name: str, header: str) -> list[str | tuple[str, str | None, str]]:
    """The values of a parameter: text, or charset, language and bytes as RFC 2231 has them."""
    parameters = mime.tolerant(lambda: part.get_params([], header), [])
    return [value for key, value in parameters if key.lower() == name]


def _extended(value: tuple[str, str | None, str]) -> str:
    """The bytes of RFC 2231 in their charset."""
    charset, _, text = value
    try:
        return charsets.decode(text.encode("latin-1"), charset)
    except UnicodeEncodeError:
        return text


def _charset(part: MIMEPart) -> str | None:
    return mime.tolerant(lambda: part.get_content_charset(None), None)
