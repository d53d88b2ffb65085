"""Make docs/demo.svg, the README's picture: what `crm demo` prints first, on a database of its own."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from app.testing.postgres import Databases, provision

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "demo.svg"
SECTIONS = ("crm demo", "Who is who")
WIDTH = 80

_HEADING = re.compile(
    r"^(?:\x1b\[[\d;]*m)*([^\x1b\n]*?)(?:\x1b\[[\d;]*m)* *(?:\x1b\[[\d;]*m)*─", re.MULTILINE
)
_SVG = "{http://www.w3.org/2000/svg}"
_LETTER = 12.2
"""How wide rich draws one, in the picture's units."""


def first_sections(output: str) -> str:
    """The sections of the demo's output that the picture shows."""
    starts = [(match[1].strip(), match.start()) for match in _HEADING.finditer(output) if match[1].strip()]
    ends = [start for _, start in starts[1:]] + [len(output)]
    parts = [output[start:end] for (title, start), end in zip(starts, ends, strict=True) if title in SECTIONS]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def draw(text: str) -> str:
    """The text as SVG, in any monospaced font: a picture in a page loads nothing."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), end="")
    svg = console.export_svg(title="crm demo", unique_id="demo")
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "ui-monospace")


def words_of(svg: str) -> list[str]:
    """What the picture shows, line by line."""
    lines: dict[float, list[tuple[int, str]]] = {}
    for text in ElementTree.fromstring(svg).iter(f"{_SVG}text"):  # noqa: S314 - our own file
        if text.text and "title" not in text.get("class", ""):
            place = round(float(text.get("x", "0")) / _LETTER)
            lines.setdefault(float(text.get("y", "0")), []).append((place, text.text))
    return [plain_line(" ".join(words for _, words in sorted(pieces))) for _, pieces in sorted(lines.items())]


def plain_line(line: str) -> str:
    """Its words alone; a revision's number is not what the picture is about."""
    words = " ".join(re.sub(r"\x1b\[[\d;]*m", "", line).replace("\xa0", " ").replace("─", " ").split())
    return re.sub(r"revision \d+", "revision", words)


def main() -> None:
    with provision("embedded") as server, closing(Databases(server)) as databases:
        url = databases.empty()
        variables = {"DATABASE_URL": url, "COLUMNS": str(WIDTH), "FORCE_COLOR": "1"}
        ran = subprocess.run(
            [sys.executable, "-m", "app", "demo"],
            env=os.environ | variables, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        databases.drop(url)
    PICTURE.write_text(draw(first_sections(ran.stdout)), encoding="utf-8")


if __name__ == "__main__":
    main()
