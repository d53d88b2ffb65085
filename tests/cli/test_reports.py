"""``crm report --html``: one page that shows what the services say, and asks for nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.demo import ANSWERABLE, UNANSWERABLE
from app.embeddings import LexicalEmbedder
from app.models import Channel, TicketStatus
from app.services import indexing, metrics, search, tickets
from app.testing import ConversationFactory, Databases, MessageFactory, TicketFactory, bound_to

Run = Callable[..., Any]
HOSTILE = "human:<script>alert(1)</script>&\"'"
LONG = f"human:{'x' * 90}"
CHARTS = ["Tickets over time", "First response", "Resolution", "Channels", "Reopens"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LAYOUT = """
<script>
const outside = [...document.querySelectorAll('svg.chart text')].filter(text => {
  const box = text.getBoundingClientRect(), chart = text.closest('svg').getBoundingClientRect();
  return box.left < chart.left - 1 || box.right > chart.right + 1 || box.top < chart.top - 1;
}).map(text => text.textContent);
const shown = [...document.querySelectorAll('svg.chart rect')].some(
  bar => bar.getBoundingClientRect().height > 20);
document.body.setAttribute('data-layout', JSON.stringify(
  {wide: document.documentElement.scrollWidth - innerWidth, outside, shown, width: innerWidth}));
</script>
"""


class Page(HTMLParser):
    """The elements of a page, by name, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def charts(self) -> list[str | None]:
        return [facts["aria-label"] for tag, facts in self.elements if facts.get("class") == "chart"]


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url)
    with Session(engine) as session, bound_to(session):
        for number in range(4):
            conversation = ConversationFactory(channel=list(Channel)[number % 3])
            ticket = TicketFactory(conversation=conversation, source_channel=conversation.channel)
            MessageFactory(conversation=conversation, outbound=True)
            # Plain SQL may call an assignee anything.
            session.execute(
                text("UPDATE tickets SET assigned_to = :name WHERE id = :id"),
                {"name": (HOSTILE, LONG)[number % 2], "id": ticket.id},
            )
            session.expire(ticket)
            tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, actor="human:7")
            if number == 0:
                tickets.change_status(session, ticket.id, TicketStatus.OPEN, actor="human:7")
        session.commit()
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture
def run(crm: Run, engine: Engine) -> Run:
    url = engine.url.render_as_string(hide_password=False)
    return lambda *arguments, **variables: crm("report", *arguments, DATABASE_URL=url, **variables)


@pytest.fixture
def written(run: Run, tmp_path: Path) -> Path:
    file = tmp_path / "report.html"
    ran = run("--by", "assignee", "--html", str(file))
    assert (ran.code, ran.out) == (0, f"written: {file}\n"), ran.err
    return file


def test_a_page_has_its_charts_and_the_figures_of_the_services(written: Path, engine: Engine) -> None:
    page = Page(written.read_text(encoding="utf-8"))

    now = datetime.now(UTC)
    with Session(engine) as session:
        report = metrics.ticket_report(
            session, since=now - timedelta(days=30), until=now, group_by="assignee"
        )
    # Another test may have calibrated: then there is one more.
    assert page.charts()[: len(CHARTS)] == CHARTS
    assert page.words[page.words.index("tickets") + 1] == str(report.total.tickets)
    share = report.total.reopened / report.total.tickets
    assert f"{report.total.reopened} ({share:.0%})" in page.words
    bars = [words for words in page.words if words.endswith((" opened", " resolved", " reopened"))]
    totals = {
        name: sum(int(words.split(": ")[1].split()[0]) for words in bars if words.endswith(f" {name}"))
        for name in ("opened", "resolved", "reopened")
    }
    assert totals == {"opened": 4, "resolved": 4, "reopened": 1}


def test_a_page_needs_nothing_else(written: Path) -> None:
    source = written.read_text(encoding="utf-8")
    page = Page(source)

    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert not [facts for _, facts in page.elements if facts.keys() & {"src", "href", "srcset", "action"}]
    assert not re.search(r"url\(|@import|https?:", source)
    policy = next(facts["content"] for _, facts in page.elements if "http-equiv" in facts)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_names_are_text_and_long_ones_end_in_an_ellipsis(written: Path) -> None:
    source = written.read_text(encoding="utf-8")

    assert "<script>" not in source
    assert f"{LONG[:14]}…" in Page(source).words
    assert any(words.startswith(f"{HOSTILE}: ") for words in Page(source).words)


def test_questions_without_an_answer_are_counted_once_somebody_has_calibrated(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    run("--html", str(file))
    assert "nobody has calibrated" in file.read_text()

    embedder = LexicalEmbedder()
    with Session(engine, expire_on_commit=False) as session, bound_to(session):
        indexing.embed_missing(session, embedder)
        search.calibrate(session, ANSWERABLE, UNANSWERABLE, embedder=embedder, mode="hybrid")
        odd = TicketFactory(subject=UNANSWERABLE[0])
        session.commit()
    run("--html", str(file))

    page = Page(file.read_text())
    assert page.charts() == [*CHARTS, "Searches without an answer"]
    assert any(odd.ticket_number in words for words in page.words)


def test_an_empty_time_is_a_page_too(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    ran = run("--until", "2001-01-01", "--days", "400", "--html", str(file))

    assert ran.code == 0
    page = Page(file.read_text())
    assert page.charts() == ["Tickets over time"]
    assert page.words.count("Nothing in this time.") >= 4


def test_a_page_that_cannot_be_written_is_one_line_and_leaves_the_old_one(run: Run, tmp_path: Path) -> None:
    ran = run("--html", str(tmp_path / "nowhere" / "report.html"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.problem.startswith("crm: html: cannot be written")

    folder = tmp_path / "report.html"
    folder.mkdir()
    ran = run("--html", str(folder))
    assert ran.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_device_is_written_to_and_not_replaced(run: Run) -> None:
    assert run("--html", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.soak
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("width", [1280, 600, 390])
def test_a_browser_shows_it_within_its_width(written: Path, tmp_path: Path, width: int) -> None:
    # A copy that measures itself: the page takes no script.
    source = re.sub(r"<meta http-equiv[^>]*>", "", written.read_text(encoding="utf-8"))
    copy = tmp_path / "measured.html"
    copy.write_text(source.replace("</body>", f"{LAYOUT}</body>"), encoding="utf-8")
    ran = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", copy.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    (measured,) = [facts["data-layout"] for tag, facts in Page(ran.stdout).elements if "data-layout" in facts]
    layout = json.loads(measured or "")
    assert layout["wide"] <= 0
    assert layout["outside"] == []
    assert layout["shown"]
