"""What is new in a reply: without the lines that it quotes, their introduction, and the signature.

The writer's words come first: a line is left out only where a mark, a ``>`` or a phrase of a mail program
says that it is not the writer's; where that is unsure, it stays.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from . import footers, marks, phrases

_QUOTED = re.compile(rf"{marks.QUOTED}|[ \t]{{0,3}}>|[ \t]{{0,3}}\|(?=\s?>)")
# A writer's own "> 5 users" or ">= 3".
_COMPARISON = re.compile(r"\s*>=?\s?[\d.,]+(?:\s|\Z)")
_ARROW = re.compile(r"\s*>{1,3}\s*\Z")
_ARMOUR = re.compile(
    r"^-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z]{1,20}: .{0,100}\n){0,9}\n?", re.MULTILINE
)
_PGP_SIGNATURE = re.compile(
    r"^-----BEGIN PGP SIGNATURE-----\n(?:.{0,100}\n){0,60}?-----END PGP SIGNATURE-----$", re.MULTILINE
)
_DASH_ESCAPED = re.compile(r"^- (?=-)", re.MULTILINE)
_SIGNATURE = re.compile(r"-- ?|—|--\xa0")
_MAX_SIGNATURE = 12
_MAX_NAME = 6
"""Words in a line of a signature below a dash."""
_MAX_INTRODUCTION = 4
_MAX_HEADERS = 14
_MAX_STRAYS = 3
_MAX_LINE = 1000
_BLANK_LINES = re.compile(r"\n{3,}")
# Signs of bold and italic letters, and the marks that end a stretch written from right to left.
_AFTER_COLON = "*_ \xa0\u200e\u200f\u202c\u2069"
# What Python's console shows; mail programs quote what was quoted twice between lines of their own.
_PROMPT = re.compile(r"\s*>>> ")


def new_text(marked: str, *, is_reply: bool = False, is_forward: bool = False) -> str:
    """The new words of a text with its marks.

    ``is_reply`` and ``is_forward`` are what the headers say: then headers without any divider are those of
    what is quoted. Of a forwarded message without words of the writer's own, the whole text is new.
    """
    marked = _without_armour(marked)
    whole = marks.without(marked).strip()
    lines = marked.split("\n")
    end, is_forwarded = _unmarked_quote(lines, is_hinted=is_reply or is_forward)
    text = _BLANK_LINES.sub("\n\n", "\n".join(_own(lines[:end]))).strip()
    if text or not whole:
        return text
    # Nothing above what is quoted: forwarded, or written below it without a mark to tell it by.
    is_only_quoted = end == len(lines) and any(map(_is_quoted, lines))
    return whole if is_forward or is_forwarded or not is_only_quoted else ""


def _without_armour(text: str) -> str:
    """The text that OpenPGP signs in clear (RFC 9580, section 7), without what is added around it."""
    begun, signed = _ARMOUR.subn("", text)
    return _DASH_ESCAPED.sub("", _PGP_SIGNATURE.sub("", begun)) if signed else text


def _unmarked_quote(lines: list[str], *, is_hinted: bool) -> tuple[int, bool]:
    """Where all that follows is quoted without marks, and whether it is a forwarded message."""
    for number, line in enumerate(lines):
        bare = marks.without(line)[:_MAX_LINE]
        if phrases.FORWARDED.fullmatch(bare):
            return number, True
        if phrases.ORIGINAL_OF.fullmatch(bare) and _is_alone(lines, number + 1, bare):
            return number, False
        if bare.strip() and not _is_quoted(line) and _begins_quote(lines, number, bare, is_hinted=is_hinted):
            return number, False
    return len(lines), False


def _is_alone(lines: list[str], following: int, bare: str) -> bool:
    """Whether a line tells of whom and when, and no marked quote is below it: then all is quoted there."""
    return _names_moment_or_address(bare) and not any(map(_is_quoted, lines[following : following + 3]))


def _begins_quote(lines: list[str], number: int, bare: str, *, is_hinted: bool) -> bool:
    if phrases.ORIGINAL.fullmatch(bare):
        return True
    if phrases.RULE.fullmatch(bare) or phrases.BARE_ORIGINAL.fullmatch(bare):
        below = (n for n in range(number + 1, min(number + 4, len(lines))) if lines[n].strip())
        return any(_is_head(lines, n) for n in list(below)[:1])
    return (
        is_hinted and _is_head(lines, number) and _is_programs_head(lines, number)
    ) or _is_lone_introduction(lines, number, is_hinted=is_hinted)


def _is_head(lines: list[str], start: int) -> bool:
    """Whether a message's headers begin here: a sender, a date and a subject or recipient, in any order."""
    names: set[str] = set()
    strays = 0
    for line in lines[start : start + _MAX_HEADERS]:
        bare = marks.without(line)[:_MAX_LINE]
        name = next((name for name, header in phrases.HEADER.items() if header.match(bare)), None)
        if (not names and name in (None, "other")) or not bare.strip() or name in names:
            break
        # A long list of recipients goes on in the next line.
        strays = 0 if name else strays + 1
        if strays > _MAX_STRAYS:
            break
        names |= {name} if name else set()
    return {"from", "date"} <= names and ("subject" in names or "to" in names)


def _is_programs_head(lines: list[str], start: int) -> bool:
    """Whether headers without a divider are a program's: people write "From: Berlin" and "Date: 5 May 9:00".

    A program tells the time, and the subject or the sender's address.
    """
    head = [marks.without(line)[:_MAX_LINE] for line in lines[start : start + _MAX_HEADERS]]
    has_time = any(phrases.HEADER["date"].match(line) and phrases.TIME.search(line) for line in head)
    has_address = any(phrases.HEADER["from"].match(line) and phrases.ADDRESS.search(line) for line in head)
    return has_time and (has_address or any(map(phrases.HEADER["subject"].match, head)))


def _is_lone_introduction(lines: list[str], start: int, *, is_hinted: bool) -> bool:
    """Whether here stands "On Monday at 9:00, Ann <ann@x> wrote:" and no marked quote follows it.

    Only a paragraph of its own with the time and, in full, a mail program's form of it: writers quote, too.
    """
    if (start and lines[start - 1].strip()) or not phrases.LEADS.match(lines[start]):
        return False
    paragraph = _paragraph(lines, start)
    text = " ".join(paragraph)
    following = start + len(paragraph)
    if following >= len(lines) or any(_is_quoted(line) for line in lines[following : following + 3]):
        return False
    has_address = is_hinted or bool(phrases.ADDRESS.search(text))
    return _introduces(text) and bool(phrases.TIME.search(text)) and has_address


def _paragraph(lines: list[str], start: int) -> list[str]:
    paragraph: list[str] = []
    for line in lines[start : start + _MAX_INTRODUCTION]:
        if not line.strip() or _is_quoted(line):
            break
        paragraph.append(marks.without(line)[:_MAX_LINE].strip())
        if paragraph[-1].endswith(phrases.COLONS):
            break
    return paragraph


def _own(lines: list[str]) -> list[str]:
    """The lines that are neither quoted nor introduce a quote nor sign."""
    quoted = _quoted(lines)
    own: list[str | None] = [
        None if is_quoted else line for line, is_quoted in zip(lines, quoted, strict=True)
    ]
    for number, (before, after) in enumerate(pairwise([False, *quoted])):
        if after and not before:
            _take_introduction(own, number)
    segments: list[list[str]] = [[]]
    for line in own:
        if line is None:
            segments.append([])
        elif line.startswith((marks.INTRODUCTION, marks.SIGNATURE)):
            continue
        else:
            segments[-1].append(line)
    return [line for segment in segments if segment for line in [*_unsigned(segment), ""]]


def _is_quoted(line: str) -> bool:
    return _QUOTED.match(line) is not None


def _quoted(lines: list[str]) -> list[bool]:
    """Line by line, whether it is quoted. A lone line that may compare is not, nor an arrow or a prompt."""
    quoted = [_is_quoted(line) for line in lines]
    if all(map(_PROMPT.match, (line for line, is_quoted in zip(lines, quoted, strict=True) if is_quoted))):
        return [False] * len(lines)
    for number, line in enumerate(lines):
        neighbours = quoted[max(0, number - 1) : number] + quoted[number + 1 : number + 2]
        if quoted[number] and _COMPARISON.match(line) and not any(neighbours):
            quoted[number] = False
    for number in range(1, len(lines) - 1):
        if not lines[number].strip() and quoted[number - 1] and quoted[number + 1]:
            quoted[number] = True
    return quoted


def _take_introduction(own: list[str | None], quote: int) -> None:
    """Blank the lines above a quote that say who wrote it."""
    end = quote
    while end > 0 and own[end - 1] is not None and not (own[end - 1] or "").strip():
        end -= 1
    if end and (own[end - 1] or "").startswith(marks.INTRODUCTION):
        return
    length = _length_of_introduction(own[max(0, end - _MAX_INTRODUCTION) : end])
    own[end - length : end] = [""] * length


def _length_of_introduction(above: list[str | None]) -> int:
    """How many of the last lines introduce a quote: up to the one that begins as such, else as few as do."""
    shortest = 0
    text = ""
    for length, line in enumerate(reversed(above), start=1):
        if line is None or not line.strip():
            break
        text = f"{line.strip()[:_MAX_LINE]} {text}".rstrip()
        if not _introduces(text):
            if not text.endswith((*phrases.COLONS, ">")):
                break
        elif phrases.LEADS.match(text) and _names_moment_or_address(text):
            return length
        elif _is_programs(text) or _is_short(text):
            shortest = shortest or length
        elif not text.endswith((*phrases.COLONS, ">")):
            break
    return shortest


def _introduces(text: str) -> bool:
    """A line that ends with a colon and has the verb, or names a moment and an address in any language."""
    bare = text.rstrip(_AFTER_COLON)
    if not bare.endswith((*phrases.COLONS, "---")):
        return False
    if phrases.WROTE.search(bare):
        return True
    is_programs = phrases.MOMENT.search(bare) or phrases.QUOTING.match(bare)
    return bool(is_programs) and bool(phrases.ADDRESS.search(bare))


def _names_moment_or_address(text: str) -> bool:
    return bool(phrases.MOMENT.search(text) or phrases.ADDRESS.search(text))


def _is_programs(text: str) -> bool:
    """Whether a line that introduces a quote, and does not begin as such, is in the form of a program."""
    if not phrases.WROTE.search(text):
        return text[:1].isdigit() or "<" in text
    return bool(phrases.ADDRESS.search(text)) or (len(text.split()) <= 12 and bool(phrases.TIME.search(text)))


def _is_short(text: str) -> bool:
    return len(text.split()) <= 5


def _is_of_names(lines: list[str]) -> bool:
    """Whether below a dash, which also parts paragraphs, stands no sentence."""
    return all(
        len(line.split()) <= _MAX_NAME and not line.rstrip().endswith(tuple(".!?…。")) for line in lines
    )


def _unsigned(segment: list[str]) -> list[str]:
    """The lines of one stretch of the writer's own, without its signature and what a telephone adds."""
    remaining = sum(1 for line in segment if line.strip())
    # Several of one line part paragraphs, but for the one that is a signature's by RFC 3676.
    signs = Counter(line for line in segment if _SIGNATURE.fullmatch(line))
    for number, line in enumerate(segment):
        remaining -= bool(line.strip())
        is_sign = signs[line] == 1 or (line == "-- " and signs[line] > 0)
        if is_sign and remaining <= _MAX_SIGNATURE and (line != "—" or _is_of_names(segment[number + 1 :])):
            segment = segment[:number]
            break
    last = len(segment)
    while last and (
        not segment[last - 1].strip() or footers.SENT_FROM.fullmatch(segment[last - 1][:_MAX_LINE])
    ):
        last -= 1
    return segment[:last]
