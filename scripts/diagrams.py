"""The diagrams of docs/reference as SVG: drawn from the models, and shown without a network or a script."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from html import escape

from sqlalchemy import ForeignKeyConstraint, Table

_STYLE = (
    "text{font:14px ui-monospace,monospace;fill:#1c2430;text-anchor:middle}"
    "rect.box{fill:#eef3fa;stroke:#2563a8}rect.paper{fill:#fff}"
    "path{fill:none;stroke:#5b6675;stroke-width:1.3}path.optional{stroke-dasharray:4 4}"
)
_ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0 10 5 0 10Z" style="fill:#5b6675;stroke:none"/></marker>'
    '<marker id="many" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="11" markerHeight="11" '
    'orient="auto"><path d="M10 0 0 5 10 10M0 5H10"/></marker></defs>'
)
_BOX, _HALF = 32, 60
_COLUMN, _LINE, _LETTER = 300, 46, 8.6


def states(transitions: Mapping[str, Collection[str]]) -> str:
    """States on a ring, in their order; a line is a step, with an arrow at each end to which it leads."""
    names = list(transitions)
    width, height, radius = 720, 460, 180
    places = {
        name: (
            width / 2 - 1.45 * radius * math.cos(2 * math.pi * index / len(names)),
            height / 2 - radius * math.sin(2 * math.pi * index / len(names)),
        )
        for index, name in enumerate(names)
    }
    parts = []
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            there, back = other in transitions[one], one in transitions[other]
            if there or back:
                start, end = _edge(places[one], places[other]), _edge(places[other], places[one])
                ends = ' marker-end="url(#arrow)"' * there + ' marker-start="url(#arrow)"' * back
                words = ", ".join([f"{one} to {other}"] * there + [f"{other} to {one}"] * back)
                parts.append(f'<path d="M{_point(start)} {_point(end)}"{ends}><title>{words}</title></path>')
    first = places[names[0]]
    parts.append(
        f'<path d="M{_point((first[0] - _HALF - 30, first[1]))} {_point((first[0] - _HALF, first[1]))}" '
        f'marker-end="url(#arrow)"/>'
    )
    parts += [_box(name, x, y, 2 * _HALF) for name, (x, y) in places.items()]
    return _svg("The states of a ticket, and the steps between them", width, height, parts)


def relations(tables: Sequence[Table]) -> str:
    """Tables in columns, each to the right of those that it points to; dashed is a key that may be empty."""
    keys = {
        table: [key for key in table.foreign_key_constraints if _target(key) is not table] for table in tables
    }
    ranks: dict[Table, int] = {}
    for table in tables:
        _rank(table, keys, ranks)
    lonely = [
        table
        for table in tables
        if not keys[table] and not any(_target(k) is table for ks in keys.values() for k in ks)
    ]
    columns = [
        [table for table in tables if ranks[table] == rank and table not in lonely]
        for rank in range(max(ranks.values()) + 1)
    ]
    tallest = max(map(len, columns))
    places: dict[Table, tuple[float, float]] = {}
    for rank, column in enumerate(columns):
        column.sort(key=lambda table: _height_of_parents(table, keys, places))
        for line, table in enumerate(column):
            share = (line + 0.5) * tallest / len(column)
            places[table] = (_COLUMN * rank + 150, 16 + share * _LINE)
    below = 16 + tallest * _LINE + 24
    per_line = len(columns)
    for index, table in enumerate(lonely):
        places[table] = (_COLUMN * (index % per_line) + 150, below + (index // per_line + 0.5) * _LINE)
    parts = []
    for table, own in keys.items():
        for key in sorted(own, key=lambda key: sorted(key.column_keys)):
            parts.append(_key(table, key, places))
    parts += [_box(table.name, x, y, _width(table)) for table, (x, y) in places.items()]
    height = below + math.ceil(len(lonely) / per_line) * _LINE + 16
    return _svg("The tables, and which row belongs to which", _COLUMN * len(columns), height, parts)


def _rank(table: Table, keys: Mapping[Table, Sequence[ForeignKeyConstraint]], ranks: dict[Table, int]) -> int:
    if table not in ranks:
        ranks[table] = 1 + max((_rank(_target(key), keys, ranks) for key in keys[table]), default=-1)
    return ranks[table]


def _height_of_parents(
    table: Table,
    keys: Mapping[Table, Sequence[ForeignKeyConstraint]],
    places: Mapping[Table, tuple[float, float]],
) -> tuple[float, str]:
    heights = [places[_target(key)][1] for key in keys[table]]
    return (sum(heights) / len(heights) if heights else 0, table.name)


def _key(table: Table, key: ForeignKeyConstraint, places: Mapping[Table, tuple[float, float]]) -> str:
    parent = _target(key)
    (x1, y1), (x2, y2) = places[parent], places[table]
    start, end = x1 + _width(parent) / 2, x2 - _width(table) / 2
    bend = (end - start) / 2
    optional = ' class="optional"' if any(column.nullable for column in key.columns) else ""
    columns = ", ".join(sorted(key.column_keys))
    return (
        f'<path{optional} d="M{start:.0f} {y1:.0f}C{start + bend:.0f} {y1:.0f} {end - bend:.0f} {y2:.0f} '
        f'{end:.0f} {y2:.0f}" marker-end="url(#many)">'
        f"<title>{escape(f'{table.name}.{columns} to {parent.name}')}</title></path>"
    )


def _target(key: ForeignKeyConstraint) -> Table:
    (table,) = {element.column.table for element in key.elements}
    assert isinstance(table, Table)
    return table


def _width(table: Table) -> float:
    return len(table.name) * _LETTER + 16


def _edge(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Where a line from the middle of one box to that of another leaves the first."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = min(_HALF / abs(dx) if dx else math.inf, _BOX / 2 / abs(dy) if dy else math.inf)
    return start[0] + dx * share, start[1] + dy * share


def _point(place: tuple[float, float]) -> str:
    return f"{place[0]:.0f} {place[1]:.0f}"


def _box(name: str, x: float, y: float, width: float) -> str:
    return (
        f'<rect class="box" x="{x - width / 2:.0f}" y="{y - _BOX / 2:.0f}" width="{width:.0f}" '
        f'height="{_BOX}" rx="5"/><text x="{x:.0f}" y="{y + 5:.0f}">{escape(name)}</text>'
    )


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    lines = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" role="img"><title>{title}</title>\n<style>{_STYLE}</style>{_ARROW}\n'
        f'<rect class="paper" width="100%" height="100%"/>\n{lines}\n</svg>\n'
    )
