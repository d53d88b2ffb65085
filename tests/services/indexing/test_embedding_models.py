"""Another model is prepared beside the present one, which answers until everything switches at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, event, func, select, text
from sqlalchemy.orm import Session

from app.embeddings import embed_texts
from app.errors import Conflict, EmbedderUnavailable, InvalidValue, InvalidVector, ModelReplaced
from app.models import EmbeddingQueueEntry, KnowledgeBaseEntry, KnowledgeEmbedding
from app.schemas import EmbeddingStatus
from app.services import indexing, knowledge, search
from app.services.indexing import articles as _article_embeddings
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory

BESIDE = ["message", "ticket"]


class Letters:
    """Counts letters: small vectors, made here and now; remembers what it was asked."""

    dimensions = 26

    def __init__(self, model: str = "letters-1") -> None:
        self.model = model
        self.seen: list[str] = []
        self.fails = False

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if self.fails:
            raise ConnectionError("the service is away")
        self.seen += texts
        return [[1.0 + one.lower().count(letter) for letter in map(chr, range(97, 123))] for one in texts]


@pytest.fixture
def articles(session: Session) -> list[KnowledgeBaseEntry]:
    """Five articles, and nothing else that is active."""
    session.execute(text("UPDATE knowledge_base SET is_active = false"))
    return [KnowledgeBaseEntryFactory(title=f"Article {n}", content=f"Text {n}") for n in range(5)]


def embed(session: Session, embedder: Letters, *object_types: str, **options: Any) -> int:
    return indexing.embed_missing(session, embedder, object_types=object_types or BESIDE, **options)


def status(session: Session, object_type: str) -> EmbeddingStatus:
    (found,) = [one for one in indexing.embedding_status(session) if one.object_type == object_type]
    return found


def numbers(session: Session, object_type: str) -> tuple[int, int, int, int]:
    found = status(session, object_type)
    return found.total, found.current, found.stale, found.missing


@pytest.mark.parametrize("object_type", BESIDE)
def test_the_present_model_answers_until_the_next_one_is_complete_and_then_all_switches(session, object_type):
    for n in range(5):
        MessageFactory(content=f"Password {n}")
        TicketFactory(subject=f"Password {n}")
    find = {"message": search.search_messages, "ticket": search.search_tickets}[object_type]
    old, new = Letters("letters-1"), Letters("letters-2")
    embed(session, old)

    for step in (2, 4):
        assert embed(session, new, object_type, limit=2) == 2
        assert len(find(session, "Password 3", embedder=old, limit=10)) == 5
        with pytest.raises(InvalidVector, match=r"model letters-2, .* of letters-1"):
            find(session, "Password 3", embedder=new)
        found = status(session, object_type)
        assert (found.model, found.models) == ("letters-1", {"letters-1": 5, "letters-2": step})
        assert numbers(session, object_type) == (5, 5, 0, 0)
    # What comes and what changes in between is the next model's too.
    MessageFactory(content="Password 5"), TicketFactory(subject="Password 5")
    session.execute(text("UPDATE messages SET content = 'Password 6' WHERE content = 'Password 0'"))
    session.execute(text("UPDATE tickets SET subject = 'Password 6' WHERE subject = 'Password 0'"))
    while embed(session, new, object_type, limit=2):
        pass

    assert "Password 6" in new.seen
    assert len(find(session, "Password 3", embedder=new, limit=10)) == 6
    with pytest.raises(InvalidVector, match=r"model letters-1, .* of letters-2"):
        find(session, "Password 3", embedder=old)
    found = status(session, object_type)
    assert (found.model, found.models) == ("letters-2", {"letters-2": 6})
    assert numbers(session, object_type) == (6, 6, 0, 0)


def test_a_model_that_was_given_up_leaves_nothing(session):
    for n in range(3):
        MessageFactory(content=f"Message {n}")
    embed(session, Letters("letters-1"))
    embed(session, Letters("letters-2"), limit=1)
    embed(session, Letters("letters-3"))
    assert status(session, "message").models == {"letters-3": 3}
    assert session.scalar(select(func.count()).select_from(EmbeddingQueueEntry)) == 0


def test_the_next_model_takes_over_where_there_is_nothing_to_embed(session):
    embed(session, Letters("letters-1"))
    assert (status(session, "message").model, numbers(session, "message")) == ("letters-1", (0, 0, 0, 0))
    assert embed(session, Letters("letters-2")) == 0
    assert status(session, "message").model == "letters-2"


# Articles


def answering(session: Session, embedder: Letters) -> int:
    """How many articles a search by this model finds."""
    return len(search.search_knowledge(session, "Article 3 Text 3", embedder=embedder, limit=100))


def waiting(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(KnowledgeEmbedding)) or 0


def test_articles_of_the_next_model_wait_beside_those_of_the_present_one(session, articles):
    old, new = Letters("letters-1"), Letters("letters-2")
    knowledge.embed_missing(session, old)
    for step in (2, 4):
        assert embed(session, new, "knowledge", limit=2) == 2
        assert answering(session, old) == 5
        with pytest.raises(InvalidVector, match=r"model letters-2, articles of letters-1"):
            answering(session, new)
        found = status(session, "knowledge")
        assert (found.model, found.models) == ("letters-1", {"letters-1": 5, "letters-2": step})
        assert numbers(session, "knowledge") == (5, 5, 0, 0)

    assert embed(session, new, "knowledge", limit=2) == 1
    assert answering(session, new) == 5
    with pytest.raises(InvalidVector, match=r"model letters-1, articles of letters-2"):
        answering(session, old)
    found = status(session, "knowledge")
    assert (found.model, found.models) == ("letters-2", {"letters-2": 5})
    assert waiting(session) == 0
    assert sorted(one for one in new.seen if "\n" in one) == [f"Article {n}\nText {n}" for n in range(5)]
    origin = session.get_one(KnowledgeBaseEntry, articles[0].id).extra["embedding"]
    assert (origin["model"], origin["dimensions"], len(origin["sha256"])) == ("letters-2", 26, 64)
    assert embed(session, new, "knowledge") == 0


def test_the_vectors_that_take_over_are_those_that_were_made(session, articles):
    knowledge.embed_missing(session, Letters("letters-1"))
    new = Letters("letters-2")
    knowledge.embed_missing(session, new)
    made = embed_texts(new, ["Article 2\nText 2"])[0]
    assert articles[2].embedding == pytest.approx(made, abs=1e-6)


def test_all_articles_switch_in_one_statement(session, articles, queries):
    knowledge.embed_missing(session, Letters("letters-1"))
    embed(session, Letters("letters-2"), "knowledge", limit=4)
    queries.reset()
    knowledge.embed_missing(session, Letters("letters-2"))
    changes = [one for one in queries.statements if "SET embedding = staged" in one]
    assert len(changes) == 1, queries


def test_a_failure_while_the_next_model_is_prepared_harms_nobody(session, articles, monkeypatch):
    monkeypatch.setattr(_article_embeddings, "BATCH", 2)
    old, new = Letters("letters-1"), Letters("letters-2")
    knowledge.embed_missing(session, old)

    def fail(done: int, _: int) -> None:
        new.fails = done == 2

    with pytest.raises(EmbedderUnavailable):
        knowledge.embed_missing(session, new, progress=fail)
    assert (answering(session, old), waiting(session)) == (5, 2)
    new.fails = False
    assert knowledge.embed_missing(session, new) == 3
    assert (answering(session, new), waiting(session)) == (5, 0)


@pytest.mark.parametrize("change", ["edited", "added", "inactive", "active again", "deleted"])
def test_what_happens_to_an_article_in_the_middle_is_taken_in(session, articles, change):
    old, new = Letters("letters-1"), Letters("letters-2")
    if change == "active again":
        articles[0].is_active = False
        session.flush()
    knowledge.embed_missing(session, old)
    embed(session, new, "knowledge", limit=3)
    staged = session.scalars(select(KnowledgeEmbedding.article_id)).all()
    if change == "edited":
        session.get_one(KnowledgeBaseEntry, staged[0]).content = "Another text"
    elif change == "added":
        KnowledgeBaseEntryFactory(title="Article 5")
    elif change == "deleted":
        session.execute(delete(KnowledgeBaseEntry).where(KnowledgeBaseEntry.id == staged[0]))
    else:
        session.get_one(KnowledgeBaseEntry, articles[0].id).is_active = change == "active again"
    session.flush()
    active = session.scalar(select(func.count()).where(KnowledgeBaseEntry.is_active)) or 0

    knowledge.embed_missing(session, new)

    assert answering(session, new) == active == {"added": 6, "inactive": 4, "deleted": 4}.get(change, 5)
    assert ("Resetting" in str(new.seen)) is False
    assert any("Another text" in one for one in new.seen) is (change == "edited")
    assert numbers(session, "knowledge") == (active, active, 0, 0)
    assert waiting(session) == 0


def test_an_article_that_is_edited_after_the_last_batch_keeps_its_words_and_comes_next(session, articles):
    """Between the look and the switch: the switch takes only embeddings of the present text."""
    old, new = Letters("letters-1"), Letters("letters-2")
    knowledge.embed_missing(session, old)
    edits = iter([text("UPDATE knowledge_base SET content = 'Another text' WHERE title = 'Article 1'")])

    @event.listens_for(session, "do_orm_execute")
    def edit(state: Any) -> None:
        if str(state.statement).strip().startswith("UPDATE") and (change := next(edits, None)) is not None:
            session.connection().execute(change)

    knowledge.embed_missing(session, new)
    event.remove(session, "do_orm_execute", edit)

    assert next(edits, None) is None
    assert (answering(session, new), waiting(session)) == (4, 0)
    assert numbers(session, "knowledge") == (5, 4, 1, 0)
    assert knowledge.embed_missing(session, new) == 1
    assert new.seen[-1] == "Article 1\nAnother text"
    assert (answering(session, new), status(session, "knowledge").models) == (5, {"letters-2": 5})


def test_one_document_alone_does_not_switch_the_base(session, articles):
    for article in articles[:2]:
        article.source = "faq.md"
    session.flush()
    old, new = Letters("letters-1"), Letters("letters-2")
    knowledge.embed_missing(session, old)
    assert knowledge.embed_missing(session, new, source="faq.md") == 2
    assert (answering(session, old), waiting(session)) == (5, 2)
    assert knowledge.embed_missing(session, new, source="faq.md") == 0
    assert knowledge.embed_missing(session, new) == 3
    assert (answering(session, new), waiting(session)) == (5, 0)


def test_the_first_model_writes_into_the_articles_at_once(session, articles):
    embed(session, Letters(), "knowledge", limit=2)
    assert (waiting(session), numbers(session, "knowledge")) == (0, (5, 2, 0, 3))


def test_the_numbers_tell_stale_from_missing_and_know_unknown_models(session, articles):
    knowledge.embed_missing(session, Letters())
    articles[0].content = "changed"
    articles[1].embedding = None
    articles[2].extra = {}
    session.flush()
    assert numbers(session, "knowledge") == (5, 2, 2, 1)
    assert status(session, "knowledge").models == {"letters-1": 3, "unknown": 1}


def test_embeddings_of_one_model_in_both_places_are_counted_together(session, articles):
    """Articles of an older model that were put back: they are prepared beside those that answer."""
    articles[0].is_active = articles[1].is_active = False
    session.flush()
    knowledge.embed_missing(session, Letters("letters-2"))
    for article in articles[:2]:
        article.is_active = True
        article.embedding = [1.0] * 1536
        article.extra = {"embedding": {"model": "letters-1"}}
    session.flush()
    embed(session, Letters("letters-2"), "knowledge", limit=1)
    assert status(session, "knowledge").models == {"letters-1": 2, "letters-2": 4}
    assert numbers(session, "knowledge") == (5, 3, 2, 0)


def test_only_what_was_embedded_is_read_anew(session, articles):
    """A caller under asyncio could not read an expired object, and nobody's change may be lost."""
    ticket = TicketFactory(subject="Help")
    with session.no_autoflush:
        articles[0].source = "not flushed yet"
        session.autoflush = False
        knowledge.embed_missing(session, Letters())
        session.autoflush = True
    assert "subject" in vars(ticket)
    assert articles[0].source == "not flushed yet"
    assert articles[0].extra["embedding"]["model"] == "letters-1"


@pytest.mark.parametrize("object_type", ["knowledge", *BESIDE])
def test_a_worker_of_the_model_of_before_cannot_switch_back(session, articles, object_type):
    MessageFactory(content="Password")
    TicketFactory(subject="Password")
    old, new = Letters("letters-1"), Letters("letters-2")
    embed(session, old, object_type)
    embed(session, new, object_type)
    before = numbers(session, object_type)
    old.seen.clear()

    for call in (indexing.embed_missing, *([indexing.fill_queue] if object_type in BESIDE else [])):
        with pytest.raises(ModelReplaced, match="letters-1") as caught:
            call(session, old, object_types=[object_type])
        assert isinstance(caught.value, Conflict)
    assert (old.seen, numbers(session, object_type)) == ([], before)
    assert status(session, object_type).model == "letters-2"

    assert embed(session, old, object_type, switch_back=True) > 0
    assert status(session, object_type).model == "letters-1"
    embed(session, old, object_type)
    with pytest.raises(ModelReplaced, match="letters-2"):
        embed(session, new, object_type)


def test_a_document_is_stored_whoever_embeds_it(session, articles):
    old, new = Letters("letters-1"), Letters("letters-2")
    embed(session, old, "knowledge")
    embed(session, new, "knowledge")
    report = knowledge.ingest_markdown(
        session, "# New\n\nA text.", source="new.md", category="faq", embedder=old
    )
    assert (report.added, report.embedded, report.unembedded) == (1, 0, 1)
    assert "another model has taken the place of letters-1" in report.embedding_error


@pytest.mark.parametrize("object_type", ["knowledge", *BESIDE])
def test_one_name_with_two_widths_is_two_models_and_never_mixed(session, articles, object_type):
    MessageFactory(content="Password")
    TicketFactory(subject="Password")
    embed(session, Letters(), object_type)
    KnowledgeBaseEntryFactory(title="New", content="New")
    MessageFactory(content="New")
    TicketFactory(subject="New")
    before = numbers(session, object_type)
    wider = Letters()
    wider.dimensions = 27
    with pytest.raises(InvalidValue, match="is 27, and what is stored of letters-1 has 26") as caught:
        embed(session, wider, object_type)
    assert caught.value.field == "embedder.dimensions"
    assert (wider.seen, numbers(session, object_type)) == ([], before)
    wider.embed = lambda texts: [[*vector, 0.0] for vector in Letters.embed(wider, texts)]
    find = {"knowledge": search.search_knowledge, "message": search.search_messages}.get(object_type)
    for mode in ("vector", "hybrid"):
        with pytest.raises(InvalidVector, match="of letters-1 with 26 dimensions, not 27"):
            (find or search.search_tickets)(session, "Password", embedder=wider, mode=mode)
        assert (find or search.search_tickets)(session, "Password", embedder=Letters(), mode=mode)
    wider.model = "letters-1 of 27"
    assert embed(session, wider, object_type) > 0
    assert status(session, object_type).model == "letters-1 of 27"
