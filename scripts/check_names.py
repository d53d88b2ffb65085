"""A local says what it is: no variable or parameter of ``app/`` is called by a word that says nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

APP = Path(__file__).resolve().parents[1] / "app"
VAGUE = frozenset({"asked", "found", "given", "known", "made", "told", "wanted"})


def vague_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where such a word is bound: assigned, looped over, or taken as an argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE:
            yield node.lineno, node.id
        elif isinstance(node, ast.arg) and node.arg in VAGUE:
            yield node.lineno, node.arg


def main() -> None:
    lines = [
        f"{path.relative_to(APP.parent)}:{line}: {name} says nothing: call it what it is"
        for path in sorted(APP.rglob("*.py"))
        for line, name in vague_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    sys.exit("\n".join(lines) or None)


if __name__ == "__main__":
    main()
