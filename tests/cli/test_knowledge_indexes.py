"""``crm knowledge embed``, ``status``, ``reindex`` and ``language``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.cli import indexes as _knowledge_indexes
from app.embeddings import LexicalEmbedder
from app.services import knowledge as service
from app.services import search
from app.testing import MessageFactory, TicketFactory, bound_to

Run = Callable[..., Any]


@pytest.fixture
def knowledge(crm: Run, crm_clone: Engine) -> Run:
    """``crm knowledge ...`` on a database of this test alone."""
    url = crm_clone.url.render_as_string(hide_password=False)

    def run(*arguments: str, **variables: str) -> Any:
        return crm("knowledge", *arguments, DATABASE_URL=url, **variables)

    return run


@pytest.fixture
def desk(crm_clone: Engine) -> Engine:
    """Three messages and a ticket, committed."""
    with Session(crm_clone) as session, bound_to(session):
        for content in ("I lost my password", "The invoice is wrong", "Thanks"):
            MessageFactory(content=content)
        TicketFactory(subject="Cannot sign in")
        session.commit()
    return crm_clone


class Old(LexicalEmbedder):
    model = "old-1"


@pytest.fixture
def of_another_model(desk: Engine) -> Engine:
    with Session(desk) as session:
        service.embed_missing(session, Old())
        session.commit()
    return desk


def status(ran: Any) -> dict[str, list[str]]:
    """The table: a type, its five counts, and the model."""
    found = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\S+)", ran.out, re.MULTILINE)
    return {name: values for name, *values in found}


def test_the_status_tells_what_is_missing_and_embed_makes_it_up(knowledge, desk, monkeypatch):
    monkeypatch.setattr(_knowledge_indexes, "_AT_ONCE", 2)
    articles = status(knowledge("status"))["articles"][0]
    assert status(knowledge("status"))["messages"] == ["3", "0", "0", "3", "0", "none"]

    ran = knowledge("embed")
    assert ran.code == 0
    assert ran.out.strip() == f"articles embedded: {articles}, messages embedded: 3, tickets embedded: 1"
    after = status(knowledge("status"))
    assert after["articles"] == [articles, articles, "0", "0", "0", "lexical-1536-v1"]
    assert after["messages"] == ["3", "3", "0", "0", "0", "lexical-1536-v1"]
    assert after["tickets"] == ["1", "1", "0", "0", "0", "lexical-1536-v1"]

    assert knowledge("embed").out.strip().startswith("articles embedded: 0, messages embedded: 0")


def test_only_what_is_named_is_embedded(knowledge, desk):
    assert knowledge("embed", "--only", "message").out.strip() == "messages embedded: 3"
    assert status(knowledge("status"))["tickets"][3] == "1"


def test_a_changed_article_is_stale_until_it_is_embedded_again(knowledge, desk):
    knowledge("embed")
    with desk.begin() as connection:
        connection.execute(text("UPDATE knowledge_base SET content = 'new' WHERE category = 'faq'"))
        changed = connection.scalar(text("SELECT count(*) FROM knowledge_base WHERE category = 'faq'"))
    assert status(knowledge("status"))["articles"][2] == str(changed)
    assert f"articles embedded: {changed}," in knowledge("embed").out


def test_another_model_takes_over_only_when_it_is_told_to(knowledge, of_another_model):
    refused = knowledge("embed")
    assert refused.code == 1
    assert refused.problem == (
        "crm: articles are of old-1; --switch prepares lexical-1536-v1 beside them, and then switches"
    )
    assert status(knowledge("status"))["articles"][5] == "old-1"
    assert status(knowledge("status"))["messages"][1] == "0"

    assert knowledge("embed", "--switch").code == 0
    assert {values[5] for values in status(knowledge("status")).values()} == {"lexical-1536-v1"}
    with Session(of_another_model) as session:
        assert search.search_knowledge(session, "password", embedder=LexicalEmbedder())


def test_what_is_prepared_is_shown_beside_the_model_that_answers(knowledge, of_another_model):
    with Session(of_another_model) as session:
        service.embed_missing(session, LexicalEmbedder(), limit=5)
        session.commit()
        assert search.search_knowledge(session, "password", embedder=Old())
    shown = knowledge("status", COLUMNS="160").out
    assert "old-1; beside it: lexical-1536-v1 (5)" in shown


@pytest.mark.own_connection("a build's settings are a session's")
def test_the_indexes_are_built_anew(knowledge, desk):
    ran = knowledge("reindex", "--memory", "64MB", "--workers", "0")
    assert ran.code == 0
    assert ran.out.startswith("built anew, and valid: idx_knowledge_base_embedding, ")
    assert (
        knowledge("reindex", "idx_messages_words").out.strip() == "built anew, and valid: idx_messages_words"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["reindex", "customers_pkey"], "names: there is no search index customers_pkey"),
        (["reindex", "--memory", "lots"], "memory: must read like 512MB or 2GB"),
        (["language", "klingon"], "language: must be one of arabic, "),
        (["language", "english'; --"], "language: must be one of arabic, "),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(knowledge, arguments, problem):
    ran = knowledge(*arguments)
    assert ran.code == 1
    assert ran.problem.startswith(f"crm: {problem}")


@pytest.mark.own_connection("a build's settings are a session's")
def test_the_language_of_words_is_shown_and_changed(knowledge, desk):
    assert knowledge("language").out.strip() == "english"
    assert knowledge("language", "portuguese").out.strip() == "portuguese"
    assert "words are read as portuguese" in knowledge("status").out
    with Session(desk) as session, bound_to(session):
        MessageFactory(content="Perdi as configurações")
        assert search.search_messages(session, "configuração", mode="text")


def test_a_dry_run_says_what_it_would_cost_and_does_nothing(knowledge, desk):
    before = knowledge("status").out

    ran = knowledge("embed", "--dry-run", "--only", "message")
    estimates = json.loads(knowledge("embed", "--dry-run", "--json").out)["items"]

    assert re.search(r"messages +3 +3 +11", ran.out), ran.out
    assert {one["object_type"]: one["texts"] for one in estimates}["message"] == 3
    assert knowledge("status").out == before


def test_refused_texts_are_counted_and_named_without_a_word_of_them(knowledge, desk):
    with Session(desk) as session:
        refused = session.scalars(text("SELECT id FROM messages WHERE content LIKE '%password%'")).one()
        session.execute(
            text("""
                UPDATE embedding_queue SET failures = 3, refused_at = clock_timestamp()
                WHERE object_id = :id
            """),
            {"id": refused},
        )
        session.commit()
    knowledge("embed")
    ran = knowledge("status")
    shown = json.loads(knowledge("status", "--json").out)["items"][1]

    assert status(ran)["messages"][:5] == ["3", "2", "0", "1", "1"]
    (one,) = shown["refused_texts"]
    assert (shown["refused"], one["id"], one["failures"]) == (1, str(refused), 3)
    assert one.keys() == {"id", "model", "failures", "try_at"}
