"""However a word is written it is found: Unicode's forms and other scripts."""

from __future__ import annotations

import random
from unicodedata import normalize

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.operations import search_indexes
from app.services import search
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory, bound_to
from tests.services.search._finding import INDEX_OF, assert_finds

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
    "georgian": ("ᲥᲐᲠᲗᲣᲚᲘ", "ქართული"),
    "tajik": ("ҶУМЪА", "ҷумъа"),
    "hausa": ("ƁOYAYYE", "ɓoyayye"),
    "arabic question": ("كلمة المرور؟", "المرور"),
    "a mark of direction": ("\u200fשבת\u200e", "שבת"),
    "tibetan": ("བོད་སྐད", "སྐད"),
    "emoji": ("thanks\U0001f44d", "thanks"),
    "in angle brackets": ("if a <limit and size> depth", "size"),
}
OTHER_SCRIPTS = {
    "chinese": ("如何重置密码\uff1a打开设置。", "我忘记了密码怎么办"),
    "japanese": ("パスワードを再設定する方法", "パスワードを忘れた"),
    "kanji": ("請求書の支払い", "請求書はどこですか"),
    "one kanji": ("水が出ない", "水は"),
    "one character": ("重置密码", "密"),
    "code among them": ("错误E1002出现", "1002"),
    "thai": ("วิธีรีเซ็ตรหัสผ่าน", "ลืมรหัสผ่าน"),
    "korean": ("비밀번호를 재설정하는 방법", "비밀번호가 틀려요"),
    "mixed": ("WiFi密码在路由器背面", "wifi 密码"),
}


@pytest.fixture(autouse=True)
def empty(session):
    session.execute(text("DELETE FROM knowledge_base"))


@pytest.mark.parametrize(("written", "question"), ONE_SPELLING.values(), ids=ONE_SPELLING)
def test_one_word_is_one_word_however_it_is_encoded(session, written, question):
    assert_finds(session, written, question)


@pytest.mark.parametrize(("written", "question"), OTHER_SCRIPTS.values(), ids=OTHER_SCRIPTS)
def test_questions_in_scripts_without_spaces_find_something(session, written, question):
    assert_finds(session, written, question)


def test_accents_count(session):
    MessageFactory(content="A senha é inválida")
    assert search.search_messages(session, "invalida", mode="text") == []


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
