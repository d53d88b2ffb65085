"""The built site, in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    return folder


def test_reading_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = [
        (page.name, address)
        for page in site.rglob("*.html")
        for address in re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]+)|<link[^>]*rel=\"stylesheet\"[^>]*href=\"([^\"]+)",
            page.read_text(encoding="utf-8"),
        )
        if re.match(r"(https?:)?//", "".join(address))
    ]

    assert list(site.rglob("*.html"))
    assert fetched == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_it_can_be_searched_when_it_is_opened_as_a_file(site: Path, tmp_path: Path) -> None:
    address = f"{(site / 'reference/errors.html').as_uri()}?q=unmerge"
    shown = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=10000", "--dump-dom", address,
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert re.search(r"\d+ matching documents", shown.stdout), shown.stderr
