"""Documents as a row of headings and blocks: what a text is made of, before it is cut into chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ...errors import Unavailable
from ...html import Converter

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_HEADING = 500
"""A longer one is no heading but a text."""

_BLANK_LINES = re.compile(r"\n\s*\n")
# Settings for a site generator; what merely stands between two rules has no "key:" on its first line.
_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n[\w-]+:.*\n(?:(?:[\w-]+:.*|[ \t].*|- .*)?\n)*?---[ \t]*(?:\n|\Z)", re.ASCII
)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Block:
    """A paragraph, list, table or listing."""

    text: str
    parts: tuple[str, ...] = ()
    """Where the block may be cut if it is too long, such as rows; none for prose."""
    head: str = ""
    """Stands before each part of a block that was cut, such as a table's head; not one of ``parts``."""
    tail: str = ""


def text_blocks(text: str) -> list[Heading | Block]:
    """A plain text's paragraphs."""
    return [Block(paragraph) for paragraph in _paragraphs(_with_newlines(text))]


def markdown_blocks(text: str) -> list[Heading | Block]:
    """A Markdown document's headings and blocks, as they are written; HTML in it becomes text.

    Raises:
        Unavailable: the package markdown-it-py is not installed.
    """
    try:
        from markdown_it import MarkdownIt  # noqa: PLC0415 - optional extra
    except ImportError:
        raise Unavailable(
            "the package markdown-it-py is not installed; pip install 'crm-digital-fte[ingest]'"
        ) from None
    text = _with_newlines(text)
    front = _FRONT_MATTER.match(text)
    body = text[front.end() :] if front else text
    # A definition of a link's address is a text like any other, and must not vanish.
    parser = MarkdownIt("commonmark").enable("table").disable("reference")
    parser.core.ruler.enableOnly(["normalize", "block"])
    inline = MarkdownIt("commonmark")
    lines = body.split("\n")
    groups = list(_top_level(parser.parse(body)))
    starts = [*(_start(group[0]) for group in groups), len(lines)]
    parts: list[Heading | Block] = []
    # Up to the next block, not to the token's own end: so no line can be lost.
    for group, (start, until) in zip(groups, pairwise(starts), strict=True):
        if group[0].type == "heading_open":
            parts += _heading(int(group[0].tag[1]), inline.parseInline(group[1].content)[0])
        else:
            parts += _blocks(group, lines, start, until)
    title = _FRONT_TITLE.search(front[0]) if front else None
    return _titled(parts, title[1].strip().strip("'\"") if title else "")


def _top_level(tokens: list[Token]) -> Iterator[list[Token]]:
    """The tokens of one block after the other."""
    group: list[Token] = []
    for token in tokens:
        group.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield group
            group = []


def _start(token: Token) -> int:
    assert token.map is not None
    return token.map[0]


def _heading(level: int, inline: Token) -> list[Heading | Block]:
    """The heading without its markup; one with a link stands in the text too, for the address."""
    children = inline.children or []
    visible = (child for child in children if child.type != "html_inline")
    text = "".join(" " if child.type.endswith("break") else child.content for child in visible)
    linked = any(child.type == "link_open" for child in children)
    return [*_headings(level, text), *([Block(inline.content)] if linked else [])]


def _headings(level: int, text: str) -> list[Heading | Block]:
    text = " ".join(text.split())
    if len(text) > MAX_HEADING:
        return [Block(text)]
    return [Heading(level, text)] if text else []


def _blocks(group: list[Token], lines: list[str], start: int, until: int) -> list[Heading | Block]:
    first = group[0]
    raw = _joined(lines[start:until])
    head = tail = ""
    match first.type:
        case "hr":
            return []
        case "html_block":
            return html_blocks(raw)
        case "paragraph_open":
            return [Block(raw.strip())]
        case "fence":
            parts = first.content.splitlines(keepends=True)
            head, tail = _joined(lines[start : start + 1]), first.markup
        case "table_open":
            parts = [line + "\n" for line in lines[start + 2 : until]]
            head = _joined(lines[start : start + 2])
        case "code_block":
            parts = [line + "\n" for line in lines[start:until]]
        case _:
            # A list or a quotation may be cut before whatever stands in it.
            cuts = sorted({start, until, *(token.map[0] for token in group if token.map)})
            parts = [_joined(lines[one:other]) for one, other in pairwise(cuts)]
    return [Block(raw.rstrip(), tuple(parts), head, tail)]


def html_blocks(html: str) -> list[Heading | Block]:
    """A page's headings and blocks as text; scripts, styles and comments are dropped."""
    page = _Page()
    page.read(_with_newlines(html))
    page.end_block()
    return _titled(page.parts, " ".join(page.title.split()))


class _Page(Converter):
    _HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
    _BLOCKS = _HEADINGS | {"pre", "table"}

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Heading | Block] = []
        self.title = ""
        self._in_title = False
        self._block = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._BLOCKS:
            self.end_block()
            self._block = tag
        self._in_title = tag == "title"
        super().handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        self._in_title = False
        if tag in self._BLOCKS:
            self.end_block()

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        super().handle_data(data)

    def end_block(self) -> None:
        text, block = self.text(), self._block
        self._out.clear()
        self._newlines, self._block = 0, ""
        lines = tuple(line + "\n" for line in text.split("\n"))
        if block in self._HEADINGS:
            self.parts += _headings(int(block[1]), text)
        elif block == "pre" and text:
            self.parts.append(Block(f"```\n{text}\n```", lines, "```\n", "```"))
        elif block == "table" and text:
            self.parts.append(Block(text, lines))
        else:
            self.parts += [Block(paragraph) for paragraph in _paragraphs(text)]


def _titled(parts: list[Heading | Block], title: str) -> list[Heading | Block]:
    """With the document's title as the outermost heading, unless it has one of its own."""
    if any(isinstance(one, Heading) and one.level == 1 for one in parts):
        return parts
    return [*_headings(1, title), *parts]


def _paragraphs(text: str) -> list[str]:
    return [paragraph for part in _BLANK_LINES.split(text) if (paragraph := part.strip())]


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _joined(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
