"""Charts as SVG, to stand in a page: no script, no font, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 720, 240
_LEFT, _BOTTOM, _TOP = 44, 28, 16
_BAR, _GAP, _LABEL, _VALUE = 22, 14, 180, 130
_LONGEST_LABEL = 15
_MOST_LABELS = 8


class Series(NamedTuple):
    """One quantity over the same places as the others of its chart."""

    name: str
    values: Sequence[float]
    texts: Sequence[str] = ()
    """How the values are written; without, as numbers."""

    def text(self, index: int) -> str:
        return self.texts[index] if self.texts else f"{self.values[index]:,.0f}"


def columns(title: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Upright bars over time, one beside the other."""
    most = max((value for one in series for value in one.values), default=0) or 1
    top = _round_up(most)
    inner, depth = _WIDTH - _LEFT, _HEIGHT - _TOP - _BOTTOM
    step = inner / max(len(labels), 1)
    width = step * 0.8 / max(len(series), 1)
    parts = []
    for share in (0, 0.5, 1):
        y = _TOP + depth * (1 - share)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{top * share:,.10g}", "end"))
    every = -(-len(labels) // _MOST_LABELS)
    for index, label in enumerate(labels):
        x = _LEFT + step * index
        if index % every == 0:
            parts.append(_text(x + step / 2, _HEIGHT - 8, label, "middle"))
        for number, one in enumerate(series):
            height = depth * one.values[index] / top
            parts.append(
                f'<rect class="s{number}" x="{x + step * 0.1 + width * number:.1f}" '
                f'y="{_TOP + depth - height:.1f}" width="{max(width - 1, 0.5):.1f}" height="{height:.1f}">'
                f"<title>{escape(f'{label}: {one.text(index)} {one.name}')}</title></rect>"
            )
    return _svg(title, _HEIGHT, parts)


def rows(title: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Bars that lie, one group of them per label, each with its value written beside it."""
    most = max((value for one in series for value in one.values), default=0) or 1
    inner = _WIDTH - _LABEL - _VALUE
    height = len(series) * _BAR + _GAP
    parts = []
    for index, label in enumerate(labels):
        y = _TOP / 2 + index * height
        short = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
        parts.append(_text(_LABEL - 8, y + len(series) * _BAR / 2 + 4, short, "end"))
        for number, one in enumerate(series):
            length, top = inner * one.values[index] / most, y + number * _BAR
            parts.append(
                f'<rect class="s{number}" x="{_LABEL}" y="{top}" width="{max(length, 1):.1f}" '
                f'height="{_BAR - 4}">'
                f"<title>{escape(f'{label}: {one.text(index)} {one.name}')}</title></rect>"
            )
            parts.append(_text(_LABEL + length + 6, top + _BAR / 2 + 3, one.text(index), "start"))
    return _svg(title, _TOP / 2 + len(labels) * height, parts)


def legend(series: Sequence[Series]) -> str:
    return "".join(
        f'<span class="key"><svg width="12" height="12" aria-hidden="true">'
        f'<rect class="s{number}" width="12" height="12"/></svg> {escape(one.name)}</span>'
        for number, one in enumerate(series)
    )


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _round_up(most: float) -> float:
    """The next of 1, 2, 4, 5, 10, 20, ...: half of it is a whole number where the values are."""
    unit = 1.0
    while True:
        for times in (2, 4, 10):
            if most <= unit * times:
                return unit * times
        unit *= 10
