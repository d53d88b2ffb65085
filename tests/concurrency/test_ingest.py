"""A provider delivers one message many times, or many messages at once: each is stored once, in one place."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.models import Channel, Conversation, Customer, Message, ProviderMessage, TicketStatus
from app.schemas import CustomerProfile, Identifier, InboundMessage, Ingested
from app.services import conversations, merging, tickets
from app.testing import CustomerFactory, bound_to

SENDER = Identifier(type="whatsapp", value="whatsapp:+4915112345678", verified=True)
STORED = (Message, ProviderMessage, Conversation, Customer)


def webhook(number: int = 0) -> InboundMessage:
    return InboundMessage(
        channel=Channel.WHATSAPP,
        account="+14155238886",
        provider_message_id=f"SM{number}",
        sender=(SENDER,),
        content=f"picture {number}",
    )


def deliver(sessions: sessionmaker[Session], message: InboundMessage) -> Ingested:
    with sessions.begin() as session:
        return conversations.ingest(session, message)


def counts(sessions: sessionmaker[Session]) -> list[int | None]:
    with sessions() as session:
        return [session.scalar(select(func.count()).select_from(model)) for model in STORED]


def test_twenty_deliveries_at_once_store_one_message(sessions, at_once):
    answers = at_once([lambda: deliver(sessions, webhook())] * 20)
    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 19
    places = {(answer.message_id, answer.conversation_id, answer.customer_id) for answer in answers}
    assert len(places) == 1
    assert counts(sessions) == [1, 1, 1, 1]


def test_an_album_of_ten_webhooks_at_once_is_one_conversation_of_a_new_customer(sessions, at_once):
    answers = at_once([lambda number=number: deliver(sessions, webhook(number)) for number in range(10)])
    assert len({answer.conversation_id for answer in answers}) == 1
    assert sum(answer.conversation_opened for answer in answers) == 1
    assert counts(sessions) == [10, 10, 1, 1]


def test_an_album_of_a_known_customer_is_one_conversation_too(sessions, at_once):
    first = deliver(sessions, webhook(100))
    with sessions.begin() as session:
        session.get_one(Conversation, first.conversation_id).status = "closed"
    answers = at_once([lambda number=number: deliver(sessions, webhook(number)) for number in range(6)])
    assert {answer.customer_id for answer in answers} == {first.customer_id}
    assert len({answer.conversation_id for answer in answers} | {first.conversation_id}) == 2
    assert counts(sessions) == [7, 7, 2, 1]


def test_a_delivery_that_waits_for_one_that_is_rolled_back_is_stored(sessions, until_it_waits):
    with sessions() as first:
        lost = conversations.ingest(first, webhook())
        second = until_it_waits(lambda: deliver(sessions, webhook()))
        first.rollback()
        stored = second.result(30)
    assert (stored.duplicate, stored.message_id != lost.message_id) == (False, True)
    assert counts(sessions) == [1, 1, 1, 1]


def test_a_delivery_that_waits_for_one_that_commits_is_a_redelivery(sessions, until_it_waits):
    with sessions() as first:
        stored = conversations.ingest(first, webhook())
        second = until_it_waits(lambda: deliver(sessions, webhook()))
        first.commit()
        again = second.result(30)
    assert (again.duplicate, again.message_id) == (True, stored.message_id)


def test_a_message_that_meets_a_change_of_its_ticket_is_stored_and_follows_it(sessions, until_it_waits):
    first = deliver(sessions, webhook(0))
    with sessions.begin() as session:
        ticket_id = tickets.open_ticket(
            session,
            customer_id=first.customer_id,
            conversation_id=first.conversation_id,
            subject="Pictures",
            category="technical",
            source_channel="whatsapp",
            actor="human:7",
        ).id
        tickets.change_status(session, ticket_id, TicketStatus.WAITING, actor="human:7")
    with sessions() as agent:
        tickets.change_status(
            agent, ticket_id, TicketStatus.ESCALATED, actor="human:7", escalation_reason="angry"
        )
        # From escalated no way leads to open.
        message = until_it_waits(lambda: deliver(sessions, webhook(1)))
        agent.commit()
    assert message.result(30).ticket_reopened is False
    with sessions() as session:
        assert tickets.get_ticket(session, ticket_id).status is TicketStatus.ESCALATED
    assert counts(sessions)[0] == 2


def test_a_sender_who_is_merged_while_the_message_is_on_its_way_writes_to_the_survivor(
    sessions, until_it_waits
):
    absorbed = deliver(sessions, webhook(0))
    with sessions.begin() as session, bound_to(session):
        survivor_id = CustomerFactory(with_email=True).id
    with sessions() as merger:
        merging.merge(merger, survivor_id, absorbed.customer_id, actor="human:7", reason="one person")
        message = until_it_waits(lambda: deliver(sessions, webhook(1)))
        merger.commit()
    stored = message.result(30)
    assert (stored.customer_id, stored.duplicate) == (survivor_id, False)
    assert stored.conversation_id == absorbed.conversation_id
    assert counts(sessions) == [2, 2, 1, 1]


def test_a_redelivery_by_the_short_way_and_one_by_the_long_way_do_not_block_each_other(sessions, at_once):
    """A known sender's message takes one statement; with something new about the sender it takes locks."""
    for number in range(10):
        deliver(sessions, webhook(100 + number))
        short = webhook(number)
        long = short.model_copy(update={"profile": CustomerProfile(company=f"Company {number}")})
        answers = at_once([lambda m=m: deliver(sessions, m) for m in (short, long) * 3])
        assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 5
        assert len({answer.message_id for answer in answers}) == 1


def test_an_answer_to_a_conversation_that_is_closed_at_this_moment_takes_it_up_again(
    sessions, until_it_waits
):
    first = deliver(sessions, webhook(0))
    answer = webhook(1).model_copy(update={"references": ("SM0",)})
    with sessions() as agent:
        conversations.change_status(agent, first.conversation_id, "closed", actor="human:7")
        agent.commit()
    with sessions() as one:
        conversations.ingest(one, answer)
        other = until_it_waits(lambda: deliver(sessions, webhook(2)))
        one.commit()
    assert other.result(30).conversation_id == first.conversation_id
    with sessions() as session:
        assert session.get_one(Conversation, first.conversation_id).status == "active"
