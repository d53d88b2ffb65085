"""HTML to readable text.

Own code on the standard library's tokenizer, for four reasons. Both uses need blocks as lines and links as
``text (url)``, and articles need blocks by kind: they subclass the converter. A mail's HTML is a stranger's:
time grows with its length only, however broken it is, which html2text (its licence is GPL besides) and a tree
with recursion do not promise. lxml and BeautifulSoup make a tree of the whole page, for a text that is read
once. And nothing has to be installed. It takes text: which character set the bytes had is the mail's affair.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_DECLARATION = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))|<![^>]*>?", re.DOTALL)
# HTMLParser looks for the end of every open tag again and again: 100 kB of "<a " would take it 90 seconds.
_NEVER_CLOSED = re.compile(r"<(?=[^<>]*(?:<|\Z))")
_SPACES = re.compile(r"[ \t\n\r\f]+")
_BLANK_LINES = re.compile(r"\n{3,}")

_SKIPPED = frozenset({"script", "style", "title"})
_LINES = frozenset(
    {"address", "article", "aside", "body", "center", "dd", "div", "dl", "dt", "fieldset", "figcaption"}
    | {"details", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "option", "section"}
    | {"summary", "textarea", "tr"}
)
_PARAGRAPHS = frozenset({"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})


def to_text(html: str) -> str:
    """Text with a line per block; links become ``text (url)``; scripts, styles and comments are dropped."""
    converter = Converter()
    converter.read(html)
    return converter.text()


class Converter(HTMLParser):
    """Collects the text of what it reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._newlines = 0
        self._skipping = False
        self._pre = 0
        self._link: tuple[str, int] | None = None

    def read(self, html: str) -> None:
        """Take in a whole document, however broken, in time that grows with its length only."""
        self.feed(_NEVER_CLOSED.sub("&lt;", _DECLARATION.sub("", html)))
        self.close()

    def text(self) -> str:
        """What was collected."""
        self._end_link()
        lines = (line.rstrip() for line in "".join(self._out).replace("\xa0", " ").split("\n"))
        return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipping = tag in _SKIPPED
        self._break(tag)
        if tag == "br":
            self._newlines += 1
        elif tag == "pre":
            self._pre += 1
        elif tag == "li":
            self.handle_data("- ")
        elif tag in ("td", "th"):
            self.handle_data(" ")
        elif tag == "a":
            self._end_link()
            self._link = ("".join((dict(attrs).get("href") or "").split()), len(self._out))

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipping = False
        self._break(tag)
        if tag == "a":
            self._end_link()
        elif tag == "pre":
            self._pre = max(0, self._pre - 1)

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if not self._pre:
            data = _SPACES.sub(" ", data)
            if self._newlines or not self._out or self._out[-1].endswith((" ", "\n")):
                data = data.removeprefix(" ")
        if not data:
            return
        mark = self._line_mark()
        if self._newlines and self._out:
            self._out.append("\n" * self._newlines + mark)
        elif mark and not self._out:
            self._out.append(mark)
        self._newlines = 0
        self._out.append(data.replace("\n", f"\n{mark}") if mark else data)

    def _line_mark(self) -> str:
        """What a line of the present place begins with."""
        return ""

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._newlines = max(self._newlines, 2)
        elif tag in _LINES:
            self._newlines = max(self._newlines, 1)

    def _end_link(self) -> None:
        if self._link is None:
            return
        url, start = self._link
        self._link = None
        label = "".join(self._out[start:]).strip().removeprefix(self._line_mark())
        if url.lower().startswith(("http://", "https://", "mailto:", "tel:")) and not _same(url, label):
            self.handle_data(f" ({url})" if label else url)


def _same(url: str, label: str) -> bool:
    address = url.lower()
    return label.lower().rstrip("/") in (address.rstrip("/"), address.partition(":")[2].strip("/"))
