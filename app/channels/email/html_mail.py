"""The text of an HTML mail, with what its program says about quotes and signatures kept as marks.

Every program that quotes says so in its own way: ``blockquote type=cite`` (Apple, Thunderbird), classes
(Gmail, Yahoo, Proton) or an element after which all is quoted (Outlook).
"""

from __future__ import annotations

import re

from ...html import Converter
from . import marks, phrases

_LINK = re.compile(r"https?://\S+")
_MAX_DEPTH = 8
_MAX_PICTURES = 50
_CLOSED = frozenset({"blockquote", "div", "p", "pre", "section", "span", "table", "td", "tr"})
# A paragraph's end may be left out: then it would hide what follows it.
_HIDING = frozenset({"div", "section", "span", "table"})
_HIDDEN = re.compile(r"(?:\A|;)(?:display:none|visibility:hidden)")
_QUOTE_CLASSES = frozenset({"tutanota_quote", "yahoo_quoted", "zmail_extra", "freemail_quote", "qt"})
# Around a blockquote and the line that introduces it; answers between the lines stand in it, too.
_CONTAINER_CLASSES = frozenset({"gmail_quote", "protonmail_quote"})
_QUOTE_NAMES = frozenset({"quote"})
_QUOTE_IDS = frozenset({"olk_src_body_section", "mail-editor-reference-message-container"})
_INTRODUCTION_CLASSES = frozenset(
    {"gmail_attr", "moz-cite-prefix", "moz-email-headers-table", "outlookmessageheader"}
)
_SIGNATURE_CLASSES = frozenset(
    {
        "gmail_signature",
        "gmail_signature_prefix",
        "k9mail-signature",
        "moz-signature",
        "protonmail_signature_block",
        "tutanota_signature",
    }
)
_SIGNATURE_IDS = frozenset(
    {"applemailsignature", "ms-outlook-mobile-signature", "signature", "ymail_android_signature"}
)
_ALL_AFTER_IDS = frozenset({"appendonsend", "divrplyfwdmsg", "replyforwardheader"})
# Outlook for Windows draws a line above the headers of what it quotes.
_OUTLOOK_LINE = re.compile(r"border:none;border-top:solid#(?:b5c4df|e1e1e1)1\.0pt")
_COLONS = "".join(phrases.COLONS)
_HEAD = re.compile(rf"[^\s{_COLONS}][^{_COLONS}]{{0,30}}[{_COLONS}]")
_MAX_HEADS = 6
# Gmail's button for indentation makes a blockquote too.
_INDENTED = re.compile(r"margin(?:-left)?:(?:0(?:px)?0(?:px)?0(?:px)?)?40px|border:(?:none|0)")

# Yahoo and Outlook rename the classes of what they take over.
_PREFIX = re.compile(r"\A(?:ydp[0-9a-f]{1,12}|x_)+")

_Attributes = dict[str, str]


class _State:
    """What holds for the text inside one element."""

    __slots__ = ("depth", "is_hidden", "mark", "tag")

    def __init__(self, tag: str, depth: int, mark: str) -> None:
        self.tag, self.depth, self.mark = tag, depth, mark
        self.is_hidden = False


def read(html: str) -> tuple[str, list[str]]:
    """The text with its marks, and of each picture its ``alt`` text, which may be empty."""
    mail = _Mail()
    mail.read(marks.without(html))
    text = mail.marked()
    # Pictures that are links leave the addresses of the links; what they show says more.
    is_only_links = any(mail.pictures) and not _LINK.sub("", marks.without(text)).strip()
    return "" if is_only_links else text, mail.pictures


class _Mail(Converter):
    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self._states = [_State("", 0, "")]
        self._open: dict[str, int] = {}
        self._all_after = ""
        self._contained_from = 0
        self._is_introduced = False
        self._is_quote_past = False

    def marked(self) -> str:
        """The text; a blank line between two quoted ones is quoted too."""
        self._end_link()
        self._settle_contained(marks.INTRODUCTION)
        lines = _settled(self.text().split("\n"))
        for number in range(1, len(lines) - 1):
            if not lines[number] and all(
                neighbour.startswith(marks.QUOTED) and "> " in neighbour[:3]
                for neighbour in (lines[number - 1], lines[number + 1])
            ):
                lines[number] = f"{marks.QUOTED}>"
        return "\n".join(lines)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._picture(attributes)
        if tag in _CLOSED:
            state = self._state(tag, attributes)
            state.is_hidden = self._states[-1].is_hidden or (tag in _HIDING and _is_hidden(attributes))
            self._states.append(state)
            self._open[tag] = self._open.get(tag, 0) + 1
        super().handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        # An end without a beginning closes nothing; elements left open end with the one around them.
        while self._open.get(tag):
            state = self._states.pop()
            self._open[state.tag] -= 1
            if state.tag == tag:
                break

    def handle_data(self, data: str) -> None:
        if not self._states[-1].is_hidden:
            super().handle_data(data)

    def _line_mark(self) -> str:
        state = self._states[-1]
        if state.depth:
            return marks.QUOTED + "> " * state.depth
        if state.mark == marks.CONTAINED and self._is_quote_past:
            return self._all_after
        return self._all_after or state.mark

    def _settle_contained(self, mark: str) -> None:
        """Say what the text is that the present container has shown so far."""
        for number in range(self._contained_from, len(self._out)):
            self._out[number] = self._out[number].replace(marks.CONTAINED, mark)
        self._contained_from = len(self._out)

    def _enter_container(self) -> None:
        self._settle_contained(marks.INTRODUCTION)
        self._is_introduced = self._is_quote_past = False

    def _enter_quote(self, classes: set[str]) -> None:
        """Of a container whose introduction is marked, what else stands above the quote is the writer's.

        Not above any quote: a forwarded message, which stands in a container too, may hold one.
        """
        is_programs = self._is_introduced and bool(classes & _CONTAINER_CLASSES)
        self._settle_contained("" if is_programs else marks.INTRODUCTION)
        self._is_quote_past = True

    def _enter_introduction(self) -> None:
        self._settle_contained(marks.INTRODUCTION if self._is_introduced else "")
        self._is_introduced = True

    def _picture(self, attributes: _Attributes) -> None:
        is_tracker = attributes.get("width") in ("0", "1") or attributes.get("height") in ("0", "1")
        if not is_tracker and len(self.pictures) < _MAX_PICTURES:
            self.pictures.append(" ".join(attributes.get("alt", "").split()))

    def _state(self, tag: str, attributes: _Attributes) -> _State:
        outer = self._states[-1]
        classes = {_PREFIX.sub("", name) for name in attributes.get("class", "").lower().split()}
        identity = attributes.get("id", "").lower().removeprefix("x_")
        style = re.sub(r"\s", "", attributes.get("style", "")[:500].lower())
        if tag == "blockquote" and _is_quote(attributes, classes, style):
            if not outer.depth:
                self._enter_quote(classes)
            return _State(tag, min(outer.depth + 1, _MAX_DEPTH), marks.QUOTED)
        if identity in _ALL_AFTER_IDS:
            self._all_after = marks.QUOTED
        elif _OUTLOOK_LINE.search(style):
            self._all_after = self._all_after or marks.BELOW_LINE
        is_named = tag == "div" and attributes.get("name", "").lower() in _QUOTE_NAMES
        if classes & _QUOTE_CLASSES or identity in _QUOTE_IDS or is_named:
            return _State(tag, outer.depth, marks.QUOTED)
        mark = _mark_of(classes, identity)
        if tag == "div" and classes & _CONTAINER_CLASSES and not outer.depth:
            self._enter_container()
            mark = marks.CONTAINED
        elif "gmail_attr" in classes and outer.mark == marks.CONTAINED:
            self._enter_introduction()
        inherited = "" if outer.mark == marks.CONTAINED and mark else outer.mark
        return _State(tag, outer.depth, inherited or mark)


def _settled(lines: list[str]) -> list[str]:
    """The lines with those below a line of Outlook's quoted, or the writer's own."""
    below = [line.removeprefix(marks.BELOW_LINE) for line in lines if line.startswith(marks.BELOW_LINE)]
    first = list(filter(None, below))[:_MAX_HEADS]
    heads = sum(_HEAD.match(line) is not None for line in first)
    is_quoted = heads > 1 or any(phrases.HEADER["from"].match(line) for line in first[:1])
    mark = marks.QUOTED if is_quoted else ""
    return [line.replace(marks.BELOW_LINE, mark) for line in lines]


def _mark_of(classes: set[str], identity: str) -> str:
    """What an element's lines are that are not quoted."""
    if classes & _INTRODUCTION_CLASSES:
        return marks.INTRODUCTION
    if classes & _SIGNATURE_CLASSES or identity in _SIGNATURE_IDS:
        return marks.SIGNATURE
    return ""


def _is_hidden(attributes: _Attributes) -> bool:
    """Whether nobody who looks at the mail sees what is in it."""
    style = re.sub(r"\s", "", attributes.get("style", "")[:500].lower())
    return "hidden" in attributes or _HIDDEN.search(style) is not None


def _is_quote(attributes: _Attributes, classes: set[str], style: str) -> bool:
    named = attributes.get("type", "").lower() == "cite" or "cite" in attributes
    if named or any("quote" in name or "cite" in name for name in classes) or "border-left" in style:
        return True
    return not _INDENTED.search(style)
