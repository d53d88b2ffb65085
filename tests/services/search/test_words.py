"""However a word is written it is found: Unicode's forms, codes and parts, typing errors, other scripts."""

from __future__ import annotations

import random
from unicodedata import normalize

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.operations import search_indexes
from app.services import indexing, search
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory, bound_to

INDEX_OF = {
    "knowledge": "idx_knowledge_base_words",
    "message": "idx_messages_words",
    "ticket": "idx_tickets_words",
}
# What was written, and questions that find it.
ONE_SPELLING = {
    "decomposed": (normalize("NFC", "Ein Gerät"), normalize("NFD", "Gerät")),
    "composed": (normalize("NFD", "Ein Gerät"), normalize("NFC", "gerät")),
    "full width": ("\uff34\uff41\uff42\uff4c\uff45\uff54 broken", "tablet"),
    "asked in full width": ("the tablet", "\uff34\uff21\uff22\uff2c\uff25\uff34"),
    "half width": ("\u30d1\u30b9\u30ef\u30fc\u30c9", "\uff8a\uff9f\uff7d\uff9c\uff70\uff84\uff9e"),
    "capitals": ("ÉCOLE", "école"),
    "greek": ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    "cyrillic": ("ПАРОЛЬ Ёлка", "ёлка пароль"),
    "armenian": ("ԳԱՂՏՆԱԲԱՌ", "գաղտնաբառ"),
    "sharp s": ("STRASSE", "straße"),
    "ligature": ("\ufb01ling cabinet", "filing"),
    "turkish": ("İSTANBUL", "istanbul"),
    "soft hyphen": ("tele\u00adphone", "telephone"),
    "quotes": ("«Kündigung»", "kündigung"),
}
CODES = {
    "as written": ("Error TC-401 appears", "TC-401"),
    "lower case": ("Error TC-401 appears", "tc-401"),
    "a part": ("Error TC-401 appears", "401"),
    "without its sign": ("Error TC-401 appears", "TC401"),
    "another dash": ("Error TC-401 appears", "TC\u2011401"),
    "version": ("Since v2.3.1 it hangs", "v2.3.1"),
    "version without its letter": ("Since v2.3.1 it hangs", "2.3.1"),
    "underscore": ("ERR_CONN on start", "ERR_CONN"),
    "part of a name": ("ERR_CONN on start", "conn"),
    "address": ("write to ana.bell@post.example", "ana.bell@post.example"),
    "domain": ("write to ana.bell@post.example", "post.example"),
    "local part": ("write to ana.bell@post.example", "bell"),
    "url": ("see https://docs.shop.example/api/v2?x=1", "docs.shop.example"),
    "number": ("it cost 1,234.56 dollars", "1,234.56"),
    "number without its comma": ("it cost 1,234.56 dollars", "1234.56"),
    "part of a number": ("invoice 2024/4711", "4711"),
    "behind a hash": ("order #4711", "4711"),
    "telephone": ("call +49 (0)30 901-820 now", "+4930901820"),
    "telephone in groups": ("call +4930901820 now", "+49 30 901 820"),
    "number in groups": ("order 4500012345", "4500 012345"),
    "negative": ("at -5 degrees", "5"),
    "product": ("TaskFlow-Pro crashes", "taskflow"),
    "product in one word": ("Use the Wi-Fi", "wifi"),
    "language": ("written in C++ and C#", "c++"),
}
OTHER_SCRIPTS = {
    "chinese": ("如何重置密码\uff1a打开设置。", "我忘记了密码怎么办"),
    "japanese": ("パスワードを再設定する方法", "パスワードを忘れた"),
    "kanji": ("請求書の支払い", "請求書はどこですか"),
    "thai": ("วิธีรีเซ็ตรหัสผ่าน", "ลืมรหัสผ่าน"),
    "korean": ("비밀번호를 재설정하는 방법", "비밀번호가 틀려요"),
    "mixed": ("WiFi密码在路由器背面", "wifi 密码"),
}


@pytest.fixture(autouse=True)
def empty(session):
    session.execute(text("DELETE FROM knowledge_base"))
    session.execute(text("SELECT fill_knowledge_words()"))


def scans(session, index):
    return session.scalar(
        text("SELECT pg_stat_get_xact_numscans(CAST(:index AS regclass))"), {"index": index}
    )


def assert_finds(session, written, question):
    """In the articles, messages and tickets, by their indexes, and nothing else."""
    # So few rows are read as fast in other ways: what the planner takes depends on the last VACUUM.
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"))
    session.execute(text("DROP INDEX IF EXISTS idx_knowledge_base_category"))
    own = {
        "knowledge": KnowledgeBaseEntryFactory(title="-", content=written),
        "message": MessageFactory(content=written),
        "ticket": TicketFactory(subject=written),
    }
    KnowledgeBaseEntryFactory(title="-", content="Nothing of it")
    MessageFactory(content="Nothing of it")
    TicketFactory(subject="Nothing of it")
    for name, find in (
        ("knowledge", search.search_knowledge),
        ("message", search.search_messages),
        ("ticket", search.search_tickets),
    ):
        before = scans(session, INDEX_OF[name])
        hits = find(session, question, mode="text")
        assert [hit.id for hit in hits] == [own[name].id], name
        assert scans(session, INDEX_OF[name]) > before


@pytest.mark.parametrize(("written", "question"), ONE_SPELLING.values(), ids=ONE_SPELLING)
def test_one_word_is_one_word_however_it_is_encoded(session, written, question):
    assert_finds(session, written, question)


@pytest.mark.parametrize(("written", "question"), CODES.values(), ids=CODES)
def test_codes_names_and_numbers_are_found_as_written_and_in_parts(session, written, question):
    assert_finds(session, written, question)


@pytest.mark.parametrize(("written", "question"), OTHER_SCRIPTS.values(), ids=OTHER_SCRIPTS)
def test_questions_in_scripts_without_spaces_find_something(session, written, question):
    assert_finds(session, written, question)


def test_a_code_as_it_was_written_is_before_its_parts(session):
    KnowledgeBaseEntryFactory(title="-", content="401 steps for the TC team, in a text of as many words")
    exact = KnowledgeBaseEntryFactory(title="-", content="The error TC-401, in a text of about as many words")
    assert search.search_knowledge(session, "TC-401", mode="text")[0].id == exact.id


def test_accents_count(session):
    MessageFactory(content="A senha é inválida")
    assert search.search_messages(session, "invalida", mode="text") == []


TYPING_ERRORS = ["pasword", "passwrod", "passwordd", "pqssword", "apssword", "passworx", "PASSWROD"]


@pytest.mark.parametrize("typed", TYPING_ERRORS)
def test_a_typing_error_finds_its_word_by_the_index(session, typed):
    article = KnowledgeBaseEntryFactory(title="-", content="Forgot the password")
    KnowledgeBaseEntryFactory(title="-", content="Unrelated words of an invoice")
    message = MessageFactory(content="my password is lost")
    before = scans(session, "knowledge_words_trigrams_idx")
    assert [hit.id for hit in search.search_knowledge(session, typed, mode="text")] == [article.id]
    assert scans(session, "knowledge_words_trigrams_idx") > before
    assert [hit.id for hit in search.search_messages(session, typed, mode="text")] == [message.id]


ENDINGS = {"subscriptoin": "a subscription", "stoped": "it stopped", "unexpectedyl": "unexpectedly",
           "synchronisation": "synchronization", "cancelation": "a cancellation"}  # fmt: skip


@pytest.mark.parametrize(("typed", "written"), ENDINGS.items())
def test_a_typing_error_in_an_ending_finds_its_word(session, typed, written):
    article = KnowledgeBaseEntryFactory(title="-", content=written)
    assert [hit.id for hit in search.search_knowledge(session, typed, mode="text")] == [article.id]


def test_a_word_that_no_article_has_any_more_is_not_taken_for_the_right_one(session):
    gone = KnowledgeBaseEntryFactory(title="-", content="passvord")
    article = KnowledgeBaseEntryFactory(title="-", content="password")
    session.delete(gone)
    session.flush()
    assert [hit.id for hit in search.search_knowledge(session, "passxord", mode="text")] == [article.id]


@pytest.mark.parametrize("typed", ["passwords", "word", "pazzwort", "drowssap", "pass", "p4ssword"])
def test_what_is_another_word_is_none_with_an_error(session, typed):
    KnowledgeBaseEntryFactory(title="-", content="Forgot the pasture")
    assert search.search_knowledge(session, typed, mode="text") == []


def test_a_word_that_messages_have_is_no_typing_error(session):
    KnowledgeBaseEntryFactory(title="-", content="the password")
    MessageFactory(content="a password")
    rare = MessageFactory(content="a passwort")
    assert [hit.id for hit in search.search_messages(session, "passwort", mode="text")] == [rare.id]


def test_words_of_articles_are_known_as_soon_as_they_are_written(session):
    article = KnowledgeBaseEntryFactory(title="-", content="the zeppelin")
    assert search.search_knowledge(session, "zepelin", mode="text")[0].id == article.id
    article.content = "the gyroscope"
    session.flush()
    assert search.search_knowledge(session, "zepelin", mode="text") == []
    assert search.search_knowledge(session, "gyroscop", mode="text")[0].id == article.id
    assert search.search_knowledge(session, "gyrosope", mode="text")[0].id == article.id


def test_names_in_filters_are_one_spelling_and_use_their_index(session):
    ticket = TicketFactory(subject="Help", assigned_to=normalize("NFD", "human:Zoë"))
    TicketFactory(subject="Help", assigned_to="human:zoe")
    article = KnowledgeBaseEntryFactory(title="Help", source=normalize("NFD", "Führung.md"))
    for name in ("human:zoë", "HUMAN:ZOË", "\uff48uman:Zoë"):
        hits = search.search_tickets(session, "help", mode="text", assigned_to=[name, "human:nobody"])
        assert [hit.id for hit in hits] == [ticket.id]
    hits = search.search_tickets(session, "help", mode="text", ticket_number=ticket.ticket_number.lower())
    assert [hit.id for hit in hits] == [ticket.id]
    assert search.search_knowledge(session, "help", mode="text", source="führung.MD")[0].id == article.id
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"))
    for object_type, table, column in (
        ("ticket", "tickets", "ticket_number"),
        ("ticket", "tickets", "assigned_to"),
        ("knowledge", "knowledge_base", "source"),
    ):
        condition = session.scalar(
            text("SELECT search_conditions(:type, jsonb_build_object(CAST(:column AS text), 'x'))"),
            {"type": object_type, "column": column},
        )
        plan = session.scalars(text(f"EXPLAIN SELECT FROM {table} o WHERE {condition}")).all()
        assert "Index" in " ".join(plan), plan
        assert f"folded_text(({column})::text)" in " ".join(plan), plan


@pytest.mark.parametrize("alphabet", [(0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x61, 0x7A), (0x430, 0x44F)])
@pytest.mark.parametrize("signs", ["", "-", "._@"])
def test_no_text_is_too_long_or_too_odd_to_be_stored(session, alphabet, signs):
    chance = random.Random(20_260_401)
    letters = [*map(chr, range(alphabet[0], alphabet[1] + 1)), *signs]
    MessageFactory(content="".join(chance.choices(letters, k=60_000)))
    MessageFactory(content="-".join(chance.choices(letters, k=60_000)))
    MessageFactory(content=" ".join(chance.choices(letters, k=60_000)))


def test_the_planner_finds_words_by_their_index(session):
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"))
    for table, columns, index in (
        ("knowledge_base", "title || ' ' || content", INDEX_OF["knowledge"]),
        ("messages", "content", INDEX_OF["message"]),
        ("tickets", "subject || ' ' || COALESCE(resolution_notes, '')", INDEX_OF["ticket"]),
    ):
        plan = session.scalars(
            text(f"EXPLAIN SELECT FROM {table} WHERE text_words(left({columns}, 50000)) @@ 'x'")
        ).all()
        assert index in " ".join(plan), plan


@pytest.mark.own_connection("a build's settings are a session's")
def test_accents_are_folded_where_the_language_setting_says_so(crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        own = MessageFactory(content="A senha é inválida").id
        session.commit()

    def hits(question: str) -> list[object]:
        with Session(crm_clone) as session:
            return [hit.id for hit in search.search_messages(session, question, mode="text")]

    search_indexes.set_language(crm_clone, "portuguese", fold_accents=True)
    with crm_clone.connect() as connection:
        assert search_indexes.folds_accents(connection)
    assert hits("senha invalida") == hits("SENHA INVÁLIDA") == [own]
    assert hits("invalid\u0301a") == [own]
    search_indexes.set_language(crm_clone, "portuguese")
    assert hits("invalida") == []
    assert hits("inválida") == [own]


def test_hybrid_finds_a_typing_error_too(session):
    article = KnowledgeBaseEntryFactory(title="-", content="Forgot the password")
    embedder = LexicalEmbedder()
    indexing.embed_missing(session, embedder)
    (hit,) = search.search_knowledge(session, "pasword", embedder=embedder, mode="hybrid", explain=True)
    assert hit.id == article.id
    assert hit.explanation.text_score > 0
