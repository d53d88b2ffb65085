"""Who a header of addresses names: strictly where that is certain, laxly where only the mail may not be lost.

Between two readings of one header lies every forgery: the server that signs or checks a mail reads one
address, we read another. So an author is ``certain`` only where RFC 5322 allows a single reading.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from email.errors import InvalidHeaderDefect, NonASCIILocalPartDefect, NonPrintableDefect
from email.policy import default as policy
from typing import NamedTuple

from . import charsets, mime

_DOUBTS = (InvalidHeaderDefect, NonASCIILocalPartDefect, NonPrintableDefect)

_LINE_END = re.compile(r"\r\n|\r|\n")
_FOLD = re.compile(r"\n[ \t]*")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_STRING = re.compile(_QUOTED, re.DOTALL)
_STRING_OR_COMMENT = re.compile(rf"{_QUOTED}|\((?:[^()\\]|\\.)*\)", re.DOTALL)
_SPOILED = re.compile("[\ufffd\udc80-\udcff]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_LAST_COMMENT = re.compile(r"\(((?:[^()\\]|\\.)*)\)\s*\Z", re.DOTALL)
_IN_ANGLES = re.compile(r"<([^<>]*)(?:>|\Z)")
_WORD = re.compile(r"[^\s<>,;()\"]+@[^\s<>,;()\"]+")
_SIGNS = str.maketrans(
    {"\uff1c": "<", "\uff1e": ">", "\u2039": "<", "\u203a": ">", "\u3008": "<", "\u3009": ">"}
    | {"\uff20": "@"}
)
_AT = re.compile("[@\uff20]")
_IN_QUOTES = re.compile(r"""\A(['"])(.*)\1\Z""", re.DOTALL)
_IN_BRACKETS = re.compile(r"\A\[(?:mailto:)?([^\[\]]*@[^\[\]]*)\]?\Z", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s,;]+")
_SPACED = re.compile(r"(?<=[^\s,;])[ \t]{0,9}([@.])[ \t]{0,9}(?=[^\s@])")
# A route, or a protocol: of a link, or of Exchange's own addresses.
_ROUTE = re.compile(r"\A(?:@[^:]*:|(?:.*[\"'=])?(?:mailto|smtp):)", re.IGNORECASE)


class Author(NamedTuple):
    """One address with the name beside it."""

    address: str
    name: str = ""
    certain: bool = False
    """The header has one author, every reader of it finds the same address, and its name is no other one."""


def read(value: str) -> list[Author]:
    """The authors whom a From header names, in its order; none where it holds no address.

    A comment after a bare address is its owner's name, as mailers wrote it before there were display names.

    In a header that RFC 5322 does not allow there is one author, whose address is what the last ``<...>``
    holds, as mailers put it there whatever stands before it.
    """
    text = _LINE_END.sub("\n", value)
    authors = [_named_by_its_charset(author, text) for author in _read(text)]
    # Words that Python has not read; what only looks like one after it was read is a name.
    authors = [
        author._replace(name=charsets.header(author.name))
        if charsets.has_words(author.name, of=text)
        else author
        for author in authors
    ]
    comment = _LAST_COMMENT.search(text)
    if comment and len(authors) == 1 and not authors[0].name:
        return [authors[0]._replace(name=_name(_ESCAPED.sub(r"\1", comment[1])))]
    return authors


def read_list(value: str) -> list[Author]:
    """The addresses in a list such as To, each entry read for itself: one that is broken hides no other."""
    commas = [match.start() for match in re.finditer(",", _blanked(value))]
    entries = [
        value[start:end] for start, end in zip([0, *(c + 1 for c in commas)], [*commas, None], strict=True)
    ]
    return [author for entry in entries if _AT.search(entry) for author in read(entry)]


def _read(text: str) -> list[Author]:
    header = mime.tolerant(lambda: policy.header_factory("From", text.replace("\n", "")), None)
    if header is None or any(isinstance(defect, _DOUBTS) for defect in header.defects):
        return _read_laxly(text)
    authors = [Author(entry.addr_spec, entry.display_name) for entry in header.addresses if entry.domain]
    if len(header.addresses) == 1 and header.groups[0].display_name is None:
        authors = [author._replace(certain=_stands_alone(author, text)) for author in authors]
    if all(author.address in text and author.address[-1] != "'" for author in authors):
        return authors
    # Comments, folds or apostrophes are in it; or it stood in an encoded word, which is only a name.
    return _read_laxly(text) or authors


def _named_by_its_charset(author: Author, text: str) -> Author:
    """The name as its charset means it, where Python's own reading of the charset spoils it."""
    if not _SPOILED.search(author.name) or text.count("<") != 1:
        return author
    return author._replace(name=_name(text[: text.index("<")]))


def _stands_alone(author: Author, text: str) -> bool:
    """Whether the address is there letter by letter, and no other that a careless reader would take.

    A name that is another address is what people see in place of the true one, however well it is quoted.
    """
    if "<" in author.name or text.count("<") > 1 or _STRING.sub('""', text).count("@") != 1:
        return False
    beside = _STRING_OR_COMMENT.sub(_inner, text.replace(author.address, ""))
    names = _WORD.findall(unicodedata.normalize("NFKC", charsets.header(f"{author.name} {beside}")))
    if any(name.strip("'").lower() != author.address.lower() for name in names):
        return False
    return (f"<{author.address}>" if "<" in text else author.address) in text


def _read_laxly(text: str) -> list[Author]:
    """Quoted strings and comments are searched last, and encoded words only if no address stands outside."""
    shown = _with_plain_signs(text)
    for readable in (shown, charsets.header(shown)):
        for visible in (_blanked(readable), readable):
            places = [match.span(1) for match in _IN_ANGLES.finditer(visible)][::-1]
            places += [match.span() for match in _WORD.finditer(visible)]
            for start, end in places:
                address = _address(readable[start:end])
                if address:
                    return [Author(address, _name(readable[:start].rstrip("< \n\t")))]
    return []


def _with_plain_signs(text: str) -> str:
    """The header where signs of another width or of HTML are the plain ones that they were meant to be."""
    with contextlib.suppress(UnicodeError):
        text = text.encode("utf-8", "surrogateescape").decode()
    return text.translate(_SIGNS).replace("&lt;", "<").replace("&gt;", ">")


def _inner(match: re.Match[str]) -> str:
    """What a quoted string or a comment holds."""
    return " " + _ESCAPED.sub(r"\1", match[0][1:-1]) + " "


def _blanked(text: str) -> str:
    """The text without its quoted strings and comments, every other letter in its place."""
    return _STRING_OR_COMMENT.sub(lambda match: " " * len(match[0]), text)


def _address(written: str) -> str | None:
    """The address in a piece of a header, which may be folded anywhere; None if it is none."""
    unfolded = _FOLD.sub("", written)
    bare = _STRING_OR_COMMENT.sub(lambda match: match[0] if match[0][0] == '"' else "", unfolded)
    whole = _ROUTE.sub("", _IN_QUOTES.sub(r"\2", bare.strip()).strip())
    whole = _IN_BRACKETS.sub(r"\1", whole)
    if not _STRING.match(whole):
        words = _BETWEEN.split(_SPACED.sub(r"\1", whole))
        whole = next((word for word in reversed(words) if "@" in word), "")
    local, _, domain = whole.rpartition("@")
    domain = domain.partition("?")[0].rstrip(".'\"")
    return f"{local}@{domain}" if local and domain else None


def _name(before: str) -> str:
    return " ".join(charsets.header(_FOLD.sub(" ", before)).split()).strip("'\" ")
