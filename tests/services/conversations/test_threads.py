"""A message goes where what it answers is, and never into somebody else's conversation."""

from __future__ import annotations

from datetime import timedelta

import email_validator
import pytest
from sqlalchemy import select, text

from app.errors import InvalidValue
from app.models import Conversation, ConversationRoute, ConversationStatus, Message
from app.schemas import CustomerProfile, Identifier
from app.services import conversations, merging, timeline
from tests.services.conversations._messages import (
    ACCOUNT,
    BEN,
    EMAIL,
    NUMBER,
    USER_ID,
    answered,
    form,
    mail,
    whatsapp,
)

OURS = "<our-answer@techcorp.example>"


def test_an_answer_to_our_mail_is_in_its_conversation_whatever_its_thread_is_called(session):
    first = conversations.ingest(session, mail())
    answered(session, first.conversation_id, OURS)

    again = conversations.ingest(session, mail(references=(OURS,)))

    assert (again.conversation_id, again.conversation_opened) == (first.conversation_id, False)


def test_any_known_id_among_the_references_will_do_and_the_nearest_decides(session):
    first, second = (conversations.ingest(session, mail(id=f"<{n}@mail.example.com>")) for n in (1, 2))
    assert first.conversation_id != second.conversation_id

    by_old = mail(references=("<unknown@a.example>", "<1@mail.example.com>"))
    by_both = mail(references=("<2@mail.example.com>", "<1@mail.example.com>"))

    assert conversations.ingest(session, by_old).conversation_id == first.conversation_id
    assert conversations.ingest(session, by_both).conversation_id == second.conversation_id


def test_a_reference_comes_before_the_thread(session):
    first = conversations.ingest(session, mail(id="<1@mail.example.com>"))
    other = conversations.ingest(session, mail(thread_id="<root@mail.example.com>"))

    reply = mail(references=("<1@mail.example.com>",), thread_id="<root@mail.example.com>")

    assert conversations.ingest(session, reply).conversation_id == first.conversation_id
    assert other.conversation_id != first.conversation_id


@pytest.mark.parametrize("named", ["our answer", "their mail", "their thread"])
def test_a_reference_never_lets_a_stranger_in(session, named):
    victim = conversations.ingest(session, mail(id="<hers@mail.example.com>", content="my card is 4711"))
    answered(session, victim.conversation_id, OURS)
    naming = {
        "our answer": {"references": (OURS,)},
        "their mail": {"references": ("<hers@mail.example.com>",)},
        "their thread": {"thread_id": "<hers@mail.example.com>"},
    }[named]

    attacker = conversations.ingest(session, mail(sender=(BEN,), **naming))

    assert attacker.conversation_id != victim.conversation_id
    assert attacker.customer_id != victim.customer_id
    assert "4711" not in str(timeline.history(session, attacker.customer_id).model_dump())
    assert {
        message.customer_id
        for message in session.scalars(
            select(Message).where(Message.conversation_id == victim.conversation_id)
        )
    } == {victim.customer_id}
    extra = session.get_one(Message, attacker.message_id).extra
    linked = None if named == "their thread" else str(victim.conversation_id)
    assert extra.get("answers") == linked


def test_an_id_of_another_account_or_channel_is_another_message(session):
    conversations.ingest(session, mail(id="<1@mail.example.com>", account="sales@techcorp.example"))
    first = conversations.ingest(session, whatsapp(id="<1@mail.example.com>"))

    assert conversations.ingest(session, mail(references=("<1@mail.example.com>",))).conversation_opened
    assert first.conversation_opened


def test_one_desk_may_have_several_addresses(session):
    first = conversations.ingest(session, mail(id="<1@mail.example.com>"))
    reply = {"references": ("<1@mail.example.com>",), "account": "help@techcorp.example"}

    elsewhere = conversations.ingest(session, mail(**reply))
    here = conversations.ingest(session, mail(**reply), aliases=["Support@TechCorp.example"])

    assert elsewhere.conversation_id != first.conversation_id
    assert here.conversation_id == first.conversation_id


def test_an_account_is_one_in_any_letter_case(session):
    sent = mail(account="Support@TechCorp.example")
    first = conversations.ingest(session, sent)

    again = conversations.ingest(session, sent.model_copy(update={"account": ACCOUNT}))

    assert (again.duplicate, again.message_id) == (True, first.message_id)


def test_who_wrote_by_a_form_and_answers_our_mail_has_one_conversation_with_two_routes(session):
    first = conversations.ingest(session, form(sender=(Identifier(type="email", value="ana@example.com"),)))
    answered(session, first.conversation_id, OURS)
    assert conversations.reply_target(session, first.conversation_id).value == "ana@example.com"

    again = conversations.ingest(session, mail(references=(OURS,)))

    assert again.conversation_id == first.conversation_id
    routes = session.scalars(
        select(ConversationRoute).where(ConversationRoute.conversation_id == first.conversation_id)
    ).all()
    assert {(route.channel, route.account) for route in routes} == {
        ("web_form", "contact"),
        ("email", ACCOUNT),
    }
    assert conversations.reply_target(session, first.conversation_id).value == "Ana@Example.com"


def test_answers_go_to_the_address_that_wrote_last(session):
    home = Identifier(type="email", value="ana@home.example", verified=True)
    first = conversations.ingest(session, mail(id="<1@mail.example.com>", sender=(EMAIL, home)))
    targets = []
    for writer in (home, EMAIL, home):
        conversations.ingest(session, mail(references=("<1@mail.example.com>",), sender=(writer,)))
        targets.append(conversations.reply_target(session, first.conversation_id).value)
    assert targets == ["ana@home.example", "Ana@Example.com", "ana@home.example"]


def test_a_business_scoped_id_alone_is_the_conversation_of_the_number_it_came_with(session):
    first = conversations.ingest(session, whatsapp(sender=(NUMBER, USER_ID)))

    again = conversations.ingest(session, whatsapp(sender=(USER_ID,)))

    assert (again.customer_id, again.conversation_id) == (first.customer_id, first.conversation_id)
    assert conversations.reply_target(session, first.conversation_id).value == USER_ID.value


def test_two_numbers_of_a_merged_customer_stay_two_conversations(session):
    other = Identifier(type="whatsapp", value="whatsapp:+4915112345678", verified=True)
    first, second = (conversations.ingest(session, whatsapp(sender=(n,))) for n in (NUMBER, other))
    merging.merge(session, first.customer_id, second.customer_id, actor="human:7", reason="one person")

    again = conversations.ingest(session, whatsapp(sender=(other,)))

    assert again.conversation_id == second.conversation_id
    assert conversations.reply_target(session, first.conversation_id).value == NUMBER.value


def test_a_merged_customer_s_thread_stays_the_thread(session):
    first = conversations.ingest(session, mail(id="<1@mail.example.com>"))
    ben = conversations.ingest(session, mail(sender=(BEN,)))
    merging.merge(session, ben.customer_id, first.customer_id, actor="human:7", reason="one person")

    again = conversations.ingest(session, mail(references=("<1@mail.example.com>",)))

    assert (again.customer_id, again.conversation_id) == (ben.customer_id, first.conversation_id)


def test_a_thread_stays_the_thread_when_a_merge_is_taken_back(session):
    ana = conversations.ingest(session, mail())
    ben = conversations.ingest(session, mail(sender=(BEN,), id="<1@mail.example.com>"))
    merge = merging.merge(session, ana.customer_id, ben.customer_id, actor="human:7", reason="one person")
    during = conversations.ingest(
        session, mail(sender=(BEN,), id="<2@x>", references=("<1@mail.example.com>",))
    )
    merging.unmerge(session, merge.id, actor="human:7", reason="two persons")

    after = conversations.ingest(session, mail(sender=(BEN,), references=("<2@x>",)))

    assert (during.customer_id, after.customer_id) == (ana.customer_id, ben.customer_id)
    assert {during.conversation_id, after.conversation_id} == {ben.conversation_id}


def test_a_group_is_a_thread_of_its_own(session):
    private = conversations.ingest(session, whatsapp(id="wamid.1"))
    in_group = conversations.ingest(session, whatsapp(group_id="G1", id="wamid.2"))
    ids = [
        conversations.ingest(session, whatsapp(**facts)).conversation_id
        for facts in (
            {},
            {"group_id": "G1"},
            {"group_id": "G2"},
            {"group_id": "G1", "references": ("wamid.1",)},
            {"references": ("wamid.2",)},
        )
    ]
    mine, group = private.conversation_id, in_group.conversation_id
    assert mine != group
    assert ids == [mine, group, ids[2], group, mine]
    assert ids[2] not in {mine, group}


def test_after_a_pause_a_new_conversation_begins_where_there_is_no_thread(session):
    first = conversations.ingest(session, whatsapp())
    session.execute(text("UPDATE messages SET created_at = created_at - interval '2 days'"))
    week, day = timedelta(days=7), timedelta(days=1)

    assert conversations.ingest(session, whatsapp(), idle_after=week).conversation_id == first.conversation_id
    session.execute(text("UPDATE messages SET created_at = created_at - interval '2 days'"))
    assert conversations.ingest(session, whatsapp(), idle_after=day).conversation_opened
    mails = mail(id="<1@mail.example.com>"), mail(references=("<1@mail.example.com>",))
    conversations.ingest(session, mails[0])
    session.execute(text("UPDATE messages SET created_at = created_at - interval '2 days'"))
    assert not conversations.ingest(session, mails[1], idle_after=day).conversation_opened


def test_a_subject_alone_joins_nothing(session):
    conversations.ingest(session, mail(subject="Invoice 42"))
    assert conversations.ingest(session, mail(subject="Re: Invoice 42")).conversation_opened


def test_a_closed_conversation_is_taken_up_again_by_a_reference_and_not_by_a_machine(session):
    first = conversations.ingest(session, mail(id="<1@mail.example.com>"))
    conversation = session.get_one(Conversation, first.conversation_id)
    conversation.status = ConversationStatus.CLOSED
    reply = {"references": ("<1@mail.example.com>",)}

    robot = conversations.ingest(session, mail(auto_reply=True, **reply))
    assert robot.conversation_id == first.conversation_id
    assert conversation.status is ConversationStatus.CLOSED

    conversations.ingest(session, mail(**reply))
    assert conversation.status is ConversationStatus.ACTIVE


def test_what_cannot_be_an_id_among_references_is_passed_over(session):
    odd = ("", "x" * 300, "a\x00b", *(f"<{n}@a.example>" for n in range(500)))
    assert conversations.ingest(session, mail(references=odd)).conversation_opened


@pytest.mark.parametrize(
    "options",
    [
        {"aliases": "support@techcorp.example"},
        {"aliases": ["\x00"]},
        {"idle_after": timedelta(0)},
        {"idle_after": 3600},
        {"wake": "false"},
        {"archived": 1},
    ],
    ids=str,
)
def test_an_option_that_is_none_is_refused_before_anything_is_sent(session, queries, options):
    with pytest.raises(InvalidValue):
        conversations.ingest(session, mail(), **options)
    assert queries.count == 0, queries


def test_an_address_is_brought_to_its_form_once(session, monkeypatch):
    calls = []
    validate_email = email_validator.validate_email

    def counted(value, **options):
        calls.append(value)
        return validate_email(value, **options)

    monkeypatch.setattr(email_validator, "validate_email", counted)
    zoe = Identifier(type="email", value="zoë@example.com", verified=True)
    conversations.ingest(session, mail(sender=(zoe,), profile=CustomerProfile(name="Zoë")))
    assert calls == ["zoë@example.com"]
    conversations.ingest(session, mail(sender=(zoe,)))
    assert calls == ["zoë@example.com"] * 2
    conversations.ingest(session, mail())
    assert calls == ["zoë@example.com"] * 2


def test_messages_of_one_transaction_keep_their_order_whoever_writes_them(session):
    first = conversations.ingest(session, mail())
    for _ in range(5):
        session.execute(
            text(
                "INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content) "
                "VALUES (:conversation_id, :customer_id, 'email', 'outbound', 'agent', 'answer')"
            ),
            {"conversation_id": first.conversation_id, "customer_id": first.customer_id},
        )
        conversations.ingest(session, mail(content="question", thread_id=None))
    page = timeline.history(session, first.customer_id)
    assert [entry.content for entry in page.items[-2::-1]] == ["answer", "question"] * 5
