"""Documents cut into pieces that are small enough to be embedded, each with the headings above it.

Pure and deterministic. A *token* is four bytes of UTF-8. No model counts exactly so, but it is near enough
for prose and needs no tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .blocks import MAX_HEADING, Block, Heading, html_blocks, markdown_blocks, text_blocks

BUDGET = 384
"""Tokens of one chunk. With the longest title it is still below the 512 that small models read."""
OVERLAP = 40
"""How much of the prose before is repeated where a section had to be cut."""

MAX_TITLE = MAX_HEADING
_SHORT_TITLE = 100
_TOKEN = 4
_BETWEEN = " > "

_SENTENCE_END = re.compile(r"[.!?…][\"'”\u2019)\]]*\s+|[。\uff01\uff1f]|\n\s*")
_WORD_END = re.compile(r"\s+")


@dataclass(frozen=True)
class Chunk:
    title: str
    """Its headings, the outermost first: ``Billing > Refunds``. At most 500 characters."""
    content: str
    headings: tuple[str, ...]


def tokens(text: str) -> int:
    """The estimate that the budget is about."""
    return -(-_size(text) // _TOKEN)


def chunk_markdown(text: str, *, budget: int = BUDGET, overlap: int = OVERLAP) -> list[Chunk]:
    """A Markdown document section by section, in its own spelling.

    Headings become titles. Listings and tables are cut only if they alone exceed the budget: between lines or
    rows, with the fence or the table's head repeated. HTML blocks become text; front matter is left out.

    Raises:
        Unavailable: the package markdown-it-py is not installed.
    """
    return _chunks(markdown_blocks(text), budget, overlap)


def chunk_html(html: str, *, budget: int = BUDGET, overlap: int = OVERLAP) -> list[Chunk]:
    """The text of a page, section by section; ``<pre>`` stays as it is."""
    return _chunks(html_blocks(html), budget, overlap)


def chunk_text(text: str, *, budget: int = BUDGET, overlap: int = OVERLAP) -> list[Chunk]:
    """A plain text; its first line is the title of all its chunks."""
    return _chunks(text_blocks(text), budget, overlap)


def _chunks(parts: list[Heading | Block], budget: int, overlap: int) -> list[Chunk]:
    chunks = []
    # A form feed is content to Markdown, and nothing to read.
    for headings, blocks in _sections([part for part in parts if part.text.strip()]):
        title = _title(headings, blocks)
        path = _BETWEEN.join(headings)
        # What is lost from the title is kept in the text.
        whole = [Block(path), *blocks] if headings and title != path else blocks
        contents = _packed(whole, budget * _TOKEN, overlap * _TOKEN)
        chunks += [Chunk(title, content, headings) for content in contents]
    return chunks


def _sections(parts: list[Heading | Block]) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    """The blocks under each heading. A heading that leads to nothing is the text of its own section."""
    path: list[Heading] = []
    blocks: list[Block] = []
    for part in [*parts, Heading(0, "")]:
        if isinstance(part, Block):
            blocks.append(part)
            continue
        if not blocks and path and part.level <= path[-1].level:
            blocks.append(Block(path[-1].text))
        if blocks:
            yield tuple(heading.text for heading in path), blocks
        while path and path[-1].level >= part.level:
            path.pop()
        path.append(part)
        blocks = []


def _title(headings: tuple[str, ...], blocks: list[Block]) -> str:
    for outermost in range(len(headings)):
        title = _BETWEEN.join(headings[outermost:])
        if len(title) <= MAX_TITLE:
            return title
    lines = [" ".join(line.split()) for line in blocks[0].text.splitlines()]
    first = next((line for line in lines if any(map(str.isalnum, line))), next(filter(None, lines)))
    if len(first) <= _SHORT_TITLE:
        return first
    return f"{first[:_SHORT_TITLE].rpartition(' ')[0] or first[:_SHORT_TITLE]} …"


def _packed(blocks: list[Block], room: int, overlap: int) -> list[str]:
    """The blocks in as few chunks as they fit into in their order."""
    chunks: list[str] = []
    chunk = prose = ""
    for block in blocks:
        for number, piece in enumerate(_pieces(block, room, overlap)):
            longer = f"{chunk}\n\n{piece}" if chunk else piece
            if _size(longer) > room:
                chunks.append(chunk)
                repeated = _end_of(prose, overlap)
                led = f"{repeated}\n\n{piece}"
                longer = led if repeated and number == 0 and _size(led) <= room else piece
            chunk = longer
            prose = "" if block.parts else piece
    return [*chunks, chunk]


def _pieces(block: Block, room: int, overlap: int) -> list[str]:
    """The block, cut where it must be to fit."""
    if _size(block.text) <= room:
        return [block.text]
    if not block.parts:
        return [piece for cut in _cut(block.text, room, overlap) if (piece := cut.strip())]
    head, parts, tail = block.head, block.parts, block.tail
    if _size(head) + _size(tail) > room // 2:
        head, parts, tail = "", (head, *parts, tail), ""
    inner = room - _size(head) - _size(tail)
    groups, left = [""], inner
    for part in parts:
        for bit in _cut(part, inner, 0):
            if _size(bit) > left:
                groups.append("")
                left = inner
            groups[-1] += bit
            left -= _size(bit)
    return [(head + group + tail).rstrip() for group in groups if group.strip()]


def _cut(text: str, room: int, overlap: int) -> Iterator[str]:
    """Pieces of at most ``room`` bytes that together are the text, where possible of whole sentences.

    Each repeats the end of the one before, up to ``overlap`` bytes; it may be a third of the room at most.
    """
    position = 0
    while True:
        window = text[position : position + room].encode()[:room].decode(errors="ignore")
        if position + len(window) == len(text):
            yield window
            return
        end = max((match.end() for match in _SENTENCE_END.finditer(window)), default=0)
        if end <= len(window) // 2:
            end = max((match.end() for match in _WORD_END.finditer(window)), default=len(window))
        yield window[:end]
        repeated = len(_end_of(window[:end], overlap))
        position += end - (repeated if repeated <= end // 2 else 0)


def _end_of(text: str, size: int) -> str:
    """The last sentences, or at least words, of a text, in at most ``size`` bytes."""
    end = text.encode()[max(_size(text) - size, 0) :].decode(errors="ignore")
    if len(end) == len(text):
        return text
    for boundary in (_SENTENCE_END, _WORD_END):
        match = boundary.search(end)
        if match and end[match.end() :].strip():
            return end[match.end() :]
    return ""


def _size(text: str) -> int:
    return len(text.encode())
