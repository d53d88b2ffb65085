"""How the command line shows things: tables that fit the terminal, and whole lines in a pipe."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, Any, TypeVar, cast

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

_PIPE_WIDTH = 100_000
_GAP = 2
_FILLING = re.compile(" +(?=\n)")
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_LEAST_FOLDED = 16
# Control characters steer the terminal, marks of direction turn lines round. Joiners stay: emoji need them.
_UNSAFE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | dict.fromkeys(
    [*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)], 0xFFFD
)


def console() -> Console:
    """Standard output. In a pipe a line is as long as it is, unless COLUMNS says otherwise."""
    if sys.stdout.isatty():
        return Console()
    width = None if os.environ.get("COLUMNS") else _PIPE_WIDTH
    return Console(file=cast(IO[str], _WithoutFilling(sys.stdout)), width=width)


class _WithoutFilling:
    """A file whose lines do not end in the spaces that fill a table's last column."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(_FILLING.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def is_pipe(console: Console) -> bool:
    """Whether it is for a program: then nothing is cut for the sake of its width."""
    return console.width >= _PIPE_WIDTH


class Patience(Progress):
    """A progress bar on stderr that shows itself only after a second, and is gone in the end."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)

    def counter(self, description: str) -> Callable[[int, int], None]:
        """What services take as ``progress``."""
        task = self.add_task(description, total=None)
        return lambda done, total: self.update(task, completed=done, total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        return super().get_renderables() if time.monotonic() - self._since > 1 else ()


def watched(items: Iterable[T], description: str, total: int) -> list[T]:
    with Patience() as progress:
        return list(progress.track(items, total, description=description))


def safe(value: str, style: str = "") -> Text:
    """Somebody's text as it is: no markup, and nothing in it that could steer the terminal."""
    return Text(value.replace("\r\n", "\n").translate(_UNSAFE), style)


def on_one_line(value: str) -> Text:
    """The same without line breaks, cut with an ellipsis where the line ends."""
    text = safe(" ".join(value.split()))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def plain(value: str) -> str:
    """The same for a line that is printed without rich."""
    return "".join(character if character.isprintable() else "\ufffd" for character in value)


def whole(value: str, style: str = "") -> Text:
    """All of somebody's text, without blank lines."""
    return safe("\n".join(filter(None, (" ".join(line.split()) for line in value.splitlines()))), style)


def excerpt(value: str, length: int, style: str = "") -> Text:
    """Its beginning."""
    text = whole(value).plain
    if len(text) > length:
        words = text[:length].rsplit(maxsplit=1)
        text = f"{words[0]} …" if len(words) > 1 else f"{text[:length]}…"
    return safe(text, style)


def duration(span: timedelta) -> str:
    """The two largest units that matter: 12 ms, 3.4 s, 5 min, 2 h 5 min, 3 days."""
    seconds = max(span.total_seconds(), 0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"


def brief(span: timedelta) -> str:
    """In whole units, the largest that fits twice, for a narrow column: 90m, 25h, 3d."""
    for unit, length in _UNITS.items():
        if span >= 2 * length:
            return f"{span // length}{unit}"
    return f"{max(span, timedelta(0)).total_seconds():.0f}s"


def moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


class FittingTable(Table):
    """A table; where its words do not fit, a paragraph per row, so that nothing is cut.

    The first cells of a row are the paragraph's first line, each after its word of ``heads``.
    """

    def __init__(self, *columns: str, heads: Sequence[str]) -> None:
        super().__init__(
            *columns, box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", padding=(0, _GAP, 0, 0)
        )
        self.heads = heads

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._least_width(console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._paragraphs()

    def _least_width(self, console: Console, options: ConsoleOptions) -> int:
        unlimited = options.update_width(_PIPE_WIDTH)
        # The box has a column of its own between two.
        least = (_GAP + 1) * len(self.columns) - 1
        for column in self.columns:
            sizes = [Measurement.get(console, unlimited, cell) for cell in (column.header, *column.cells)]
            width = max(size.maximum if column.no_wrap else size.minimum for size in sizes)
            if column.overflow == "fold":
                width = min(width, _LEAST_FOLDED)
            least += min(max(width, column.min_width or 0), column.max_width or width)
        return least

    def _paragraphs(self) -> Iterable[RenderableType]:
        names = [str(column.header) for column in self.columns]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            heads = [
                (word, _whole_cell(cell))
                for word, cell in zip(self.heads, row, strict=False)
                if str(cell).strip()
            ]
            words = [Text.assemble(word, cell) for word, cell in heads if isinstance(cell, Text)]
            if words:
                yield Text("  ").join(words)
            yield from (cell for _, cell in heads if not isinstance(cell, Text))
            count = len(self.heads)
            rest = {
                name: _whole_cell(cell)
                for name, cell in zip(names[count:], row[count:], strict=True)
                if not isinstance(cell, str | Text) or str(cell).strip()
            }
            body = facts(rest) if len(names) - count > 1 else next(iter(rest.values()), None)
            if body is not None:
                yield Padding(body, (0, 0, 0, 2), expand=False)


def _whole_cell(cell: RenderableType) -> Any:
    """The cell without what a table did to it."""
    text = Text(cell) if isinstance(cell, str) else cell
    if isinstance(text, Text):
        text = text.copy()
        text.no_wrap = False
        text.rstrip()
    return text


def new_table(*columns: str, heads: Sequence[str] = ("",)) -> Table:
    return FittingTable(*columns, heads=heads)


def facts(named: Mapping[str, RenderableType | None]) -> Table:
    """One fact a line; those that are None are left out."""
    grid = Table.grid(padding=(0, _GAP))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in named.items():
        if fact is not None:
            grid.add_row(Text(name, "dim"), safe(fact) if isinstance(fact, str) else fact)
    return grid
