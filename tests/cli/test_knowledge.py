"""``crm knowledge``: what happened to each document is shown, and a run that broke off goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.embeddings import LexicalEmbedder

Run = Callable[..., Any]
HOSTILE = "[bold]x[red] \x1b[31mred \u202egnp.exe"


@pytest.fixture
def knowledge(crm: Run, crm_clone: Engine) -> Run:
    """``crm knowledge ...`` on a database of this test alone."""
    url = crm_clone.url.render_as_string(hide_password=False)

    def run(*arguments: object, **variables: str) -> Any:
        return crm("knowledge", *map(str, arguments), DATABASE_URL=url, **variables)

    return run


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "guides").mkdir(parents=True)
    (folder / "faq.md").write_text("# Refunds\nWithin 14 days.\n\n# Seats\nSix euros.\n")
    (folder / "guides" / "start.html").write_text("<h1>Start</h1><p>Sign in.")
    (folder / "terms.txt").write_text("Terms\n\nFair use.")
    return folder


def rows(out: str) -> dict[str, list[int]]:
    """The table: a document, and its four counts."""
    found = re.findall(r"^(\S.*?) +(\d+) +(\d+) +(\d+) +(\d+) *$", out, re.MULTILINE)
    return {name: [int(count) for count in counts] for name, *counts in found}


def stored(engine: Engine, source: str) -> list[tuple[str, bool, bool]]:
    """Title, in use, embedded."""
    columns = "title, is_active, embedding IS NOT NULL"
    statement = text(f"SELECT {columns} FROM knowledge_base WHERE source = :source ORDER BY title")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement, {"source": source})]


def test_a_folder_is_stored_and_embedded_and_the_second_time_nothing_happens(knowledge, docs, crm_clone):
    ran = knowledge("ingest", docs, "--category", "faq")
    assert ran.code == 0
    assert rows(ran.out) == {
        "faq.md": [2, 0, 0, 0],
        "guides/start.html": [1, 0, 0, 0],
        "terms.txt": [1, 0, 0, 0],
        "3 documents": [4, 0, 0, 0],
    }
    assert ran.out.splitlines()[-1] == "articles embedded: 4"
    assert max(map(len, ran.out.splitlines())) <= 80
    assert stored(crm_clone, "guides/start.html") == [("Start", True, True)]
    again = knowledge("ingest", docs, "--category", "faq")
    assert rows(again.out)["3 documents"] == [0, 0, 4, 0]
    assert again.out.splitlines()[-1] == "articles embedded: 0"


def test_what_changed_in_one_file_is_shown(knowledge, docs):
    knowledge("ingest", docs / "faq.md", "--category", "faq")
    (docs / "faq.md").write_text("# Refunds\nWithin 30 days.\n\n# Files\n5 GB.\n\n# Trial\nFree.\n")
    assert rows(knowledge("ingest", docs / "faq.md", "--category", "faq").out) == {"faq.md": [2, 1, 0, 1]}
    (docs / "faq.md").write_text("# Refunds\nWithin 30 days.\n")
    assert rows(knowledge("ingest", docs / "faq.md", "--category", "faq").out) == {"faq.md": [0, 0, 1, 2]}


def test_files_that_cannot_be_used_are_named_and_the_others_are_stored(knowledge, docs, crm_clone):
    (docs / "latin.txt").write_bytes(b"caf\xe9")
    ran = knowledge("ingest", docs, "--category", "faq")
    assert (ran.code, ran.problem) == (1, "crm: latin.txt: document: is not UTF-8")
    assert rows(ran.out)["3 documents"] == [4, 0, 0, 0]
    assert len(stored(crm_clone, "faq.md")) == 2


@pytest.mark.parametrize("name", ["nothing.md", "logo.svg", "empty"])
def test_what_is_no_document_is_said_in_one_line(knowledge, docs, name):
    (docs / "logo.svg").write_text("<svg/>")
    (docs / "empty").mkdir()
    ran = knowledge("ingest", docs / name, "--category", "faq")
    assert ran.code == 1
    assert name in ran.problem


@pytest.mark.parametrize("category", [[], ["--category", "novels"]])
def test_a_category_is_needed(knowledge, docs, category):
    assert knowledge("ingest", docs, *category).code == 2


def test_an_embedder_that_fails_loses_no_text_and_the_next_run_goes_on(
    knowledge, docs, crm_clone, monkeypatch
):
    def fail(self: object, texts: Sequence[str]) -> list[list[float]]:
        raise ConnectionError(texts)

    with monkeypatch.context() as patch:
        patch.setattr(LexicalEmbedder, "embed", fail)
        ran = knowledge("ingest", docs, "--category", "faq")
    assert ran.code == 1
    assert rows(ran.out)["3 documents"] == [4, 0, 0, 0]
    assert ran.problem == (
        "crm: articles that are stored and not embedded: 4; "
        "the embedder lexical-1536-v1 failed: ConnectionError; run it again"
    )
    assert stored(crm_clone, "faq.md") == [("Refunds", True, False), ("Seats", True, False)]
    again = knowledge("ingest", docs, "--category", "faq")
    assert (again.code, again.out.splitlines()[-1]) == (0, "articles embedded: 4")


def test_a_run_that_is_interrupted_keeps_the_documents_before_and_goes_on(
    knowledge, docs, crm_clone, monkeypatch
):
    embed = LexicalEmbedder.embed

    def interrupt(self: LexicalEmbedder, texts: Sequence[str]) -> list[list[float]]:
        if any("Start" in one for one in texts):
            raise KeyboardInterrupt
        return embed(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(LexicalEmbedder, "embed", interrupt)
        assert knowledge("ingest", docs, "--category", "faq").code == 130
    assert len(stored(crm_clone, "faq.md")) == 2
    assert stored(crm_clone, "guides/start.html") == stored(crm_clone, "terms.txt") == []
    assert rows(knowledge("ingest", docs, "--category", "faq").out)["3 documents"] == [2, 0, 2, 0]


def test_vectors_of_two_models_are_never_mixed(knowledge, docs, crm_clone):
    knowledge("ingest", docs / "terms.txt", "--category", "faq")
    other = "jsonb_set(metadata, '{embedding,model}', '\"other-1\"')"
    with crm_clone.begin() as connection:
        connection.execute(text(f"UPDATE knowledge_base SET metadata = {other} WHERE embedding IS NOT NULL"))
    ran = knowledge("ingest", docs / "faq.md", "--category", "faq")
    assert ran.code == 1
    assert "articles that are stored and not embedded: 2; the others are of other-1" in ran.problem
    assert stored(crm_clone, "faq.md") == [("Refunds", True, False), ("Seats", True, False)]


def test_articles_are_listed_with_filters(knowledge, docs):
    knowledge("ingest", docs, "--category", "billing")
    ran = knowledge("list", "--source", "faq.md")
    assert re.findall(r"^(\w+) +billing +lexical-1536-v1", ran.out, re.MULTILINE) == ["Refunds", "Seats"]
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "Seats" not in knowledge("list", "--category", "faq").out
    limited = knowledge("list", "--source", "faq.md", "--limit", "1").out
    assert limited.splitlines()[-1] == "only the first 1; --limit shows more"
    assert "only the first" not in knowledge("list", "--source", "faq.md", "--limit", "2").out
    assert knowledge("list", "--source", "unknown").out == "no articles\n"


def test_a_document_or_one_article_is_taken_out_of_use(knowledge, docs):
    knowledge("ingest", docs, "--category", "faq")
    (id_,) = re.findall(r"[0-9a-f-]{36}", knowledge("list", "--source", "guides/start.html").out)
    assert knowledge("deactivate", id_).out == "articles taken out of use: 1\n"
    assert knowledge("deactivate", id_).out == "articles taken out of use: 0\n"
    assert knowledge("deactivate", "faq.md").out == "articles taken out of use: 2\n"
    assert "Start" in knowledge("list", "--inactive", "--source", "guides/start.html").out
    again = knowledge("ingest", docs, "--category", "faq")
    assert rows(again.out)["faq.md"] == [2, 0, 0, 0]
    assert again.out.splitlines()[-1] == "articles that stay out of use, since somebody switched them off: 1"


@pytest.mark.parametrize("which", ["unknown.md", "0192c7a4-7b1c-7e1c-8f1c-1b2c3d4e5f60"])
def test_what_is_not_there_cannot_be_taken_out_of_use(knowledge, which):
    ran = knowledge("deactivate", which)
    assert ran.code == 1
    assert ran.problem.startswith("crm: there is no article ")
    assert which in ran.problem


def test_a_document_cannot_steer_the_terminal(knowledge, docs):
    (docs / f"{HOSTILE}.md").write_text(f"# {HOSTILE}\nText.")
    (docs / f"{HOSTILE}.txt").write_bytes(b"\xff")
    ran = knowledge("ingest", docs, "--category", "faq")
    shown = ran.out + ran.err + knowledge("list", "--category", "faq").out
    assert "[bold]x[red]" in shown
    assert not set("\x1b\u202e") & set(shown)
