"""A ticket's life in figures: read from its record, right at any instant and after any number of reopens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.errors import InvalidValue, TicketNotFound
from app.models import FINISHED, TicketStatus
from app.schemas import OutboundMessage
from app.services import conversations, tickets
from app.testing import ConversationFactory, MessageFactory, TicketFactory

T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
OPEN, PROCESSING, WAITING, RESOLVED, ESCALATED, CLOSED = (
    TicketStatus.OPEN,
    TicketStatus.PROCESSING,
    TicketStatus.WAITING,
    TicketStatus.RESOLVED,
    TicketStatus.ESCALATED,
    TicketStatus.CLOSED,
)
NONE = timedelta(0)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def after(count: float) -> datetime:
    return T0 + hours(count)


@pytest.fixture
def told(store_past):
    """A ticket that was resolved twice and closed, with all that can happen in between."""
    return store_past(
        T0,
        [
            (T0, OPEN),
            (after(1), PROCESSING),
            (after(2), WAITING),
            (after(12), PROCESSING),
            (after(13), RESOLVED),
            (after(24), OPEN),
            (after(25), ESCALATED),
            (after(30), PROCESSING),
            (after(31), RESOLVED),
            (after(50), CLOSED),
        ],
        fields=[
            (after(1), "assigned_to", None, "ai:support-agent"),
            (after(1.5), "priority", "medium", "high"),
            (after(25), "assigned_to", "ai:support-agent", "human:7"),
        ],
        messages=[
            (T0 - hours(1), "agent", None),
            (T0, "customer", {}),
            (after(0.01), "agent", {"auto_reply": True}),
            (after(0.02), "system", {}),
            (after(2), "agent", {"auto_reply": False}),
            (after(3), "agent", {}),
        ],
    )


def test_a_whole_life_is_told(session, told):
    life = tickets.lifecycle(session, told, as_of=after(100))
    assert (life.ticket_id, life.opened_at, life.as_of, life.status) == (told, T0, after(100), CLOSED)
    assert (life.first_response_at, life.first_response) == (after(2), hours(2))
    assert (life.first_resolved_at, life.first_resolution) == (after(13), hours(13))
    assert (life.resolved_at, life.full_resolution) == (after(31), hours(31))
    assert life.time_in == {
        OPEN: hours(1 + 1),
        PROCESSING: hours(1 + 1 + 1),
        WAITING: hours(10),
        RESOLVED: hours(11 + 19),
        ESCALATED: hours(5),
        CLOSED: hours(50),
    }
    assert (life.waiting_on_customer, life.waiting_on_us) == (hours(10), hours(2 + 3 + 5))
    assert (life.reopens, life.assignee_changes) == (1, 2)


def test_the_past_stays_as_it_was(session, told):
    seen = {
        1.75: (PROCESSING, None, None, None, 0, 1),
        2: (WAITING, hours(2), None, None, 0, 1),
        13: (RESOLVED, hours(2), hours(13), hours(13), 0, 1),
        24: (OPEN, hours(2), hours(13), None, 1, 1),
        26: (ESCALATED, hours(2), hours(13), None, 1, 2),
        31: (RESOLVED, hours(2), hours(13), hours(31), 1, 2),
        60: (CLOSED, hours(2), hours(13), hours(31), 1, 2),
    }
    for hour, expected in seen.items():
        life = tickets.lifecycle(session, told, as_of=after(hour))
        assert (
            life.status,
            life.first_response,
            life.first_resolution,
            life.full_resolution,
            life.reopens,
            life.assignee_changes,
        ) == expected
        assert sum(life.time_in.values(), NONE) == hours(hour)


def test_before_it_was_opened_there_was_no_ticket(session, told):
    with pytest.raises(TicketNotFound):
        tickets.lifecycle(session, told, as_of=T0 - timedelta(microseconds=1))
    with pytest.raises(TicketNotFound):
        tickets.lifecycle(session, uuid4())


def test_nobody_knows_the_future(session, told):
    now = datetime.now(UTC)
    for life in (tickets.lifecycle(session, told, as_of=now + hours(1000)), tickets.lifecycle(session, told)):
        assert abs(life.as_of - now) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("ticket_id", "as_of", "field"),
    [("TKT-1", None, "ticket_id"), (None, None, "ticket_id"), (uuid4(), datetime(2026, 1, 1), "as_of")],  # noqa: DTZ001
)
def test_a_bad_question_is_refused_before_the_database_hears_it(session, queries, ticket_id, as_of, field):
    with pytest.raises(InvalidValue) as caught:
        tickets.lifecycle(session, ticket_id, as_of=as_of)
    assert caught.value.field == field
    assert queries.count == 0, queries


def test_what_was_stored_as_finished_has_no_resolution(session, store_past):
    ticket_id = store_past(
        T0, [(after(5), RESOLVED), (after(6), CLOSED), (after(7), OPEN), (after(9), CLOSED)]
    )
    life = tickets.lifecycle(session, ticket_id, as_of=after(6.5))
    assert (life.first_resolved_at, life.resolved_at, life.reopens) == (None, None, 0)
    life = tickets.lifecycle(session, ticket_id, as_of=after(10))
    assert (life.first_resolution, life.full_resolution, life.reopens) == (hours(9), hours(9), 1)


def test_clocks_that_were_set_back_and_odd_dates_make_no_negative_times(session, store_past):
    ticket_id = store_past(after(3), [(after(1), OPEN), (T0, PROCESSING), (after(2), RESOLVED)])
    life = tickets.lifecycle(session, ticket_id, as_of=after(4))
    assert (life.first_resolution, life.full_resolution) == (NONE, NONE)
    assert life.time_in == dict.fromkeys(TicketStatus, NONE) | {PROCESSING: hours(2), RESOLVED: hours(2)}
    undated = store_past(None, [(after(1), OPEN), (after(2), RESOLVED)])
    assert tickets.lifecycle(session, undated).first_resolution == hours(1)


def test_the_first_answer_is_one_by_an_agent_to_this_ticket(session):
    conversation = ConversationFactory()
    MessageFactory(conversation=conversation, outbound=True)
    ticket, elsewhere = TicketFactory(conversation=conversation), TicketFactory()
    session.flush()
    MessageFactory(conversation=ConversationFactory(customer_id=conversation.customer_id), outbound=True)
    ticket.created_at = elsewhere.created_at = tickets.lifecycle(session, ticket.id).as_of
    session.flush()
    for answer in (
        OutboundMessage(content="We have it.", auto_reply=True),
        OutboundMessage(content="Closed for holidays.", role="system"),
    ):
        conversations.reply(session, conversation.id, answer)
        assert tickets.lifecycle(session, ticket.id).first_response_at is None
    answer = conversations.reply(session, conversation.id, OutboundMessage(content="Press Reset."))
    conversations.reply(session, conversation.id, OutboundMessage(content="And then Save."))
    assert tickets.lifecycle(session, ticket.id).first_response_at == answer.created_at
    assert tickets.lifecycle(session, elsewhere.id).first_response_at is None


def test_an_answer_that_never_arrived_is_no_response(session):
    conversation = ConversationFactory()
    ticket = TicketFactory(conversation=conversation)
    answers = [
        MessageFactory(
            conversation=conversation,
            outbound=True,
            delivery_status=status,
            created_at=ticket.created_at + at,
        )
        for status, at in [
            ("failed", hours(-0.5)),
            ("failed", hours(1)),
            ("delivered", hours(2)),
            ("read", hours(3)),
        ]
    ]
    later = datetime.now(UTC) + hours(10)
    session.execute(text("UPDATE tickets SET created_at = created_at - interval '1 day'"))
    session.execute(text("UPDATE messages SET created_at = created_at - interval '1 day'"))
    session.expire_all()
    assert tickets.lifecycle(session, ticket.id, as_of=later).first_response_at == answers[2].created_at
    session.execute(
        text("UPDATE messages SET delivery_status = 'failed' WHERE delivery_status = 'delivered'")
    )
    assert tickets.lifecycle(session, ticket.id).first_response_at == answers[3].created_at


def test_a_life_takes_one_statement_however_long_it_is(session, queries):
    ticket = TicketFactory()
    counts = []
    for _ in range(3):
        queries.reset()
        tickets.lifecycle(session, ticket.id)
        counts.append(queries.count)
        for status in (RESOLVED, OPEN, WAITING):
            tickets.change_status(session, ticket.id, status, actor="human:7")
    assert counts == [1, 1, 1]


def replayed(past: dict, as_of: datetime) -> dict[str, object]:
    """The same figures, from one entry to the next."""
    status, since, opened = None, None, past["created_at"]
    time_in = dict.fromkeys(TicketStatus, NONE)
    first = last = None
    reopens = 0
    for at, new in past["statuses"]:
        if at > as_of:
            break
        if status is not None:
            time_in[status] += at - since
            if new in FINISHED and status not in FINISHED:
                first, last = first or at, at
            if status in FINISHED and new not in FINISHED:
                reopens, last = reopens + 1, None
        status, since = new, at
    time_in[status] += as_of - since
    answers = [
        at
        for at, role, extra in past["messages"]
        if role == "agent" and opened <= at <= as_of and not (extra or {}).get("auto_reply")
    ]
    response = min(answers, default=None)
    return {
        "status": status,
        "first_response": response and response - opened,
        "first_resolution": first and first - opened,
        "full_resolution": last and last - opened,
        "time_in": time_in,
        "waiting_on_customer": time_in[WAITING],
        "waiting_on_us": time_in[OPEN] + time_in[PROCESSING] + time_in[ESCALATED],
        "reopens": reopens,
        "assignee_changes": sum(at <= as_of and field == "assigned_to" for at, field, *_ in past["fields"]),
    }


def random_past(random: Random) -> dict:
    """Any steps at any times: the record of what really happened need not be a legal one."""
    created = T0 + hours(random.uniform(0, 100))
    times = sorted(
        created + random.choice([NONE, hours(1)]) * random.random() * 200
        for _ in range(random.randint(1, 12))
    )
    steps, previous = [], None
    for at in times:
        previous = random.choice([status for status in TicketStatus if status is not previous])
        steps.append((at, previous))
    return {
        "created_at": created,
        "statuses": steps,
        "fields": sorted(
            (created + hours(random.random() * 200), random.choice(["assigned_to", "priority"]), "a", "b")
            for _ in range(random.randint(0, 4))
        ),
        "messages": [
            (
                created + hours(random.uniform(-10, 150)),
                random.choice(["agent", "agent", "customer", "system"]),
                random.choice([None, {}, {"auto_reply": True}, {"auto_reply": False}]),
            )
            for _ in range(random.randint(0, 6))
        ],
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_database_counts_as_a_plain_replay_does(session, store_past, seed):
    random = Random(seed)
    for _ in range(25):
        past = random_past(random)
        ticket_id = store_past(
            past["created_at"], past["statuses"], fields=past["fields"], messages=past["messages"]
        )
        began, ended = past["statuses"][0][0], past["statuses"][-1][0]
        instants = [began, ended, ended + hours(1)]
        instants += [began + (ended - began) * random.random() for _ in range(3)]
        for instant in instants:
            life = tickets.lifecycle(session, ticket_id, as_of=instant)
            expected = replayed(past, instant)
            assert {name: getattr(life, name) for name in expected} == expected
