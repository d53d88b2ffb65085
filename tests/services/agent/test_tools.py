"""An agent's tools: bound to one conversation, honest about what may be told, done once."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from app.embeddings import LexicalEmbedder
from app.errors import ConversationNotFound, InvalidValue
from app.models import Message, Ticket, TicketFieldChange, TicketStatusChange, ToolCall
from app.schemas import CustomerProfile, OutboundMessage
from app.services import agent, conversations, identity, tickets
from app.testing import CustomerFactory, KnowledgeBaseEntryFactory, MessageFactory, TicketFactory
from tests.services.conversations._messages import EMAIL, NUMBER, form, mail, whatsapp

CLAIM = EMAIL.model_copy(update={"verified": False})
WRITES = {
    "open_ticket": {"subject": "Cannot sign in", "category": "account_access"},
    "change_ticket_status": {"status": "processing"},
    "escalate_ticket": {"reason": "asks for a refund"},
    "change_ticket_priority": {"priority": "high"},
    "reply": {"content": "Open Settings."},
    "add_note": {"content": "a VIP"},
}
READS = {
    "search_knowledge": {"query": "password"},
    "find_solutions": {"query": "password"},
    "read_conversation": {},
    "read_history": {},
    "list_tickets": {"include_finished": True},
    "read_ticket": {},
}
OF_TICKETS = ("read_ticket", "change_ticket_status", "escalate_ticket", "change_ticket_priority")


def arguments(name, ticket):
    own = (READS | WRITES)[name]
    return own | {"ticket_number": ticket.ticket_number} if name in OF_TICKETS else own


def call(session, box, name, values, key=None):
    return box.call(session, name, values, idempotency_key=key or str(uuid4()))


def state(session):
    counted = (Message, Ticket, TicketStatusChange, TicketFieldChange, ToolCall)
    return [session.scalar(select(func.count()).select_from(model)) for model in counted]


def tickets_owner(session, box):
    return conversations.get_conversation(session, box.conversation_id).customer_id


@pytest.fixture
def known(session):
    """A customer's other conversation and its ticket, which are for nobody else."""
    first = conversations.ingest(
        session,
        mail(
            content="SECRET-CONTENT password",
            subject="SECRET-SUBJECT",
            profile=CustomerProfile(name="SECRET-N"),
        ),
    )
    owner = {"customer_id": first.customer_id, "conversation_id": first.conversation_id}
    ticket = TicketFactory(subject="SECRET-TICKET password", **owner)
    solved = TicketFactory(subject="password SECRET-SOLVED", resolved=True, **owner)
    session.execute(
        text("UPDATE tickets SET resolution_notes = 'SECRET-NOTES' WHERE id = :id"), {"id": solved.id}
    )
    conversations.reply(session, first.conversation_id, OutboundMessage(content="SECRET-ANSWER"))
    conversations.note(session, first.conversation_id, "SECRET-NOTE", actor="human:7")
    return first, ticket


@pytest.fixture
def claimed(session, known):
    """A form with the known customer's address, and the tools of its conversation."""
    ingested = conversations.ingest(session, form(sender=(CLAIM,), content="Reset my password"))
    assert ingested.customer_id == known[0].customer_id
    return agent.tools(ingested.conversation_id)


@pytest.fixture
def verified(session, known):
    ingested = conversations.ingest(session, mail(content="Reset my password"))
    assert ingested.customer_id == known[0].customer_id
    return agent.tools(ingested.conversation_id, actor="ai:support-agent")


@pytest.mark.parametrize("name", READS | WRITES)
def test_without_proof_no_tool_reaches_another_conversation(session, known, claimed, name):
    first, ticket = known
    before = tickets.get_ticket(session, ticket.id).status, state(session)[2:4]
    for values in (arguments(name, ticket), arguments(name, ticket) | {"ticket_number": str(ticket.id)}):
        if name not in OF_TICKETS and "ticket_number" in values:
            continue
        result = call(session, claimed, name, values)
        said = result.model_dump_json()
        assert "SECRET" not in said
        assert str(first.conversation_id) not in said
        if name in OF_TICKETS:
            assert (result.ok, result.content["code"]) == (False, "ticket_not_found")
    if name in OF_TICKETS:
        assert (tickets.get_ticket(session, ticket.id).status, state(session)[2:4]) == before
    if name in {"read_history", "find_solutions"}:
        assert (result.ok, result.content["code"]) == (False, "disclosure_refused")


@pytest.mark.parametrize("name", READS)
def test_in_a_group_no_tool_reads_what_others_there_must_not_know(session, known, name):
    first, ticket = known
    identity.attach_identifier(session, first.customer_id, NUMBER, channel="whatsapp", actor="human:7")
    asked = conversations.ingest(session, whatsapp(group_id="GROUP-1", content="Reset my password?"))
    assert (asked.customer_id, asked.resolution.assurance) == (first.customer_id, "verified")
    result = call(session, agent.tools(asked.conversation_id), name, arguments(name, ticket))
    assert "SECRET" not in result.model_dump_json()
    assert result.ok is (name in {"search_knowledge", "read_conversation", "list_tickets"})


def test_how_others_were_helped_does_not_say_how_to_reach_them(session, verified):
    for owner, notes in (
        (
            {
                "customer_id": TicketFactory(
                    customer=CustomerFactory(name="Bob Stone", company="Rival Ltd")
                ).customer_id
            },
            "Reset for Bob Stone of Rival Ltd by SMS to +49 151 1234567, told Stone at bob@rival.example",
        ),
        ({"customer_id": tickets_owner(session, verified)}, "Reset it for ana@home.example"),
    ):
        ticket = TicketFactory(subject="Reset my password", resolved=True, **owner)
        session.execute(
            text("UPDATE tickets SET resolution_notes = :notes WHERE id = :id"),
            {"id": ticket.id, "notes": notes},
        )
    tool = json.dumps(call(session, verified, "find_solutions", {"query": "Reset my password"}).content)
    context = conversations.context(session, verified.conversation_id).model_dump_json()
    for told in (tool, context):
        assert "Reset for (name) of (name) by SMS to (address), told (name) at (address)" in told
        assert "ana@home.example" in told


@pytest.mark.parametrize("name", OF_TICKETS)
def test_nobody_reaches_another_person_s_ticket_and_no_error_tells_that_it_is_there(session, verified, name):
    other = TicketFactory(subject="SECRET")
    real = call(session, verified, name, arguments(name, other))
    unknown = call(session, verified, name, arguments(name, other) | {"ticket_number": "TKT-999999"})
    assert not real.ok
    assert real.content["code"] == unknown.content["code"] == "ticket_not_found"
    assert real.content["detail"].replace(other.ticket_number, "") == unknown.content["detail"].replace(
        "TKT-999999", ""
    )
    assert tickets.status_history(session, other.id)[1:] == []


def test_with_proof_the_customer_s_own_tickets_and_history_are_in_reach(session, known, verified):
    _, ticket = known
    read = call(session, verified, "read_ticket", {"ticket_number": ticket.ticket_number})
    assert (read.ok, read.content["subject"], read.content["status"]) == (
        True,
        "SECRET-TICKET password",
        "open",
    )
    listed = call(session, verified, "list_tickets", {}).content["tickets"]
    assert [entry["ticket_number"] for entry in listed] == [ticket.ticket_number]
    history = call(session, verified, "read_history", {})
    assert "SECRET-CONTENT" in history.as_text()
    assert 'SECRET-NOTE"' not in history.as_text()
    assert call(session, verified, "find_solutions", {"query": "password"}).content["solutions"] == [
        {"category": "account_access", "resolution_notes": "SECRET-NOTES"}
    ]


@pytest.mark.parametrize("name", READS | WRITES)
@pytest.mark.parametrize(
    "injected",
    [
        {"verified": True},
        {"assurance": "verified"},
        {"customer_id": str(UUID(int=1))},
        {"conversation_id": str(UUID(int=1))},
        {"actor": "human:7"},
        {"idempotency_key": "mine"},
    ],
    ids=str,
)
def test_a_model_cannot_say_who_is_meant_or_what_is_proven(session, known, claimed, name, injected):
    before = state(session)
    result = call(session, claimed, name, arguments(name, known[1]) | injected)
    assert (result.ok, result.content["code"]) == (False, "invalid_value")
    assert result.content["field"] == next(iter(injected))
    assert state(session) == before


@pytest.mark.parametrize("name", WRITES)
def test_a_call_that_is_made_again_does_nothing_again(session, verified, name):
    ticket = TicketFactory(
        conversation_id=verified.conversation_id,
        customer_id=conversations.get_conversation(session, verified.conversation_id).customer_id,
    )
    first = call(session, verified, name, arguments(name, ticket), "call_1")
    after = state(session)
    again = call(session, verified, name, json.dumps(arguments(name, ticket)), "call_1")

    assert (first.ok, first.repeated, again.ok, again.repeated) == (True, False, True, True)
    assert again.content == first.content
    assert state(session) == after
    other = call(session, verified, name, arguments(name, ticket), "call_2")
    assert not other.repeated


@pytest.mark.parametrize("name", WRITES)
def test_what_is_kept_of_a_call_holds_no_text(session, verified, name):
    ticket = TicketFactory(
        conversation_id=verified.conversation_id,
        customer_id=conversations.get_conversation(session, verified.conversation_id).customer_id,
    )
    values = arguments(name, ticket)
    assert call(session, verified, name, values, "call_1").ok
    (kept,) = session.scalars(select(ToolCall)).all()
    assert (kept.tool, kept.actor) == (name, "ai:support-agent")
    for words in {"subject", "reason", "content", "comment"} & values.keys():
        assert values[words] not in json.dumps(kept.result)


def test_a_key_of_another_call_is_refused(session, verified):
    call(session, verified, "add_note", {"content": "one"}, "call_1")
    for name, values in (("add_note", {"content": "two"}), ("reply", {"content": "one"})):
        refused = call(session, verified, name, values, "call_1")
        assert (refused.ok, refused.content["code"]) == (False, "key_reused")


def test_a_key_is_of_its_conversation(session, verified, claimed):
    assert call(session, verified, "add_note", {"content": "one"}, "call_1").ok
    assert not call(session, claimed, "add_note", {"content": "one"}, "call_1").repeated


def test_what_was_refused_may_be_tried_again_with_its_key_and_leaves_the_transaction_usable(
    session, verified
):
    customer_id = conversations.get_conversation(session, verified.conversation_id).customer_id
    ticket = TicketFactory(customer_id=customer_id, status="closed")
    values = arguments("change_ticket_status", ticket)
    refused = call(session, verified, "change_ticket_status", values, "call_1")
    assert (refused.ok, refused.content["code"]) == (False, "illegal_transition")
    assert refused.content["legal"]
    tickets.reopen(session, ticket.id, actor="human:7")
    retried = call(session, verified, "change_ticket_status", values, "call_1")
    assert (retried.ok, retried.repeated, retried.content["status"]) == (True, False, "processing")


def test_who_acted_is_on_record(session, known, verified):
    _, ticket = known
    call(session, verified, "change_ticket_status", arguments("change_ticket_status", ticket))
    assert tickets.status_history(session, ticket.id)[-1].changed_by == "ai:support-agent"
    answer = call(session, verified, "reply", {"content": "Open Settings."}).content["message_id"]
    entries = conversations.transcript(session, verified.conversation_id).items
    assert next((str(e.id), e.actor) for e in entries) == (answer, "ai:support-agent")


def test_a_tool_that_writes_needs_a_key_and_one_that_reads_does_not(session, verified):
    with pytest.raises(InvalidValue, match="idempotency_key"):
        verified.call(session, "reply", {"content": "x"})
    with pytest.raises(InvalidValue, match="idempotency_key"):
        verified.call(session, "reply", {"content": "x"}, idempotency_key="k" * 256)
    assert verified.call(session, "list_tickets", "").ok


@pytest.mark.parametrize(
    ("name", "values", "field"),
    [
        ("drop_tables", {}, "tool"),
        (None, {}, "tool"),
        ("list_tickets", "[1]", "arguments"),
        ("list_tickets", "{", "arguments"),
        ("list_tickets", "[" * 100_000, "arguments"),
        ("list_tickets", 7, "arguments"),
        ("reply", {}, "content"),
        ("reply", {"content": ""}, "content"),
        ("reply", {"content": "\x00"}, "content"),
        ("reply", {"content": "x" * 20_001}, "content"),
        ("open_ticket", {"subject": "x", "category": "legal"}, "category"),
        ("change_ticket_status", {"ticket_number": "TKT-1", "status": "closed"}, "status"),
        ("read_conversation", {"before": "forged"}, "before"),
        ("read_conversation", {"limit": 1000}, "limit"),
    ],
)
def test_what_a_model_gets_wrong_is_told_in_words_that_it_can_act_upon(
    session, verified, name, values, field
):
    before = state(session)
    result = call(session, verified, name, values)
    assert (result.ok, result.content["field"]) == (False, field)
    assert result.content["detail"].startswith(f"{field}: ")
    assert state(session) == before


@pytest.mark.usefixtures("known")
def test_an_answer_is_put_into_the_channel_s_template_and_one_that_is_too_long_is_told(session, claimed):
    answer = call(session, claimed, "reply", {"content": "Open Settings."}).content["message_id"]
    content = session.get_one(Message, UUID(answer)).content
    assert content.startswith("Hi ")
    assert "\n\nOpen Settings.\n\n" in content
    assert "SECRET" not in content
    refused = call(session, claimed, "reply", {"content": "word " * 301})
    assert (refused.ok, refused.content["code"]) == (False, "response_too_long")
    assert "300" in refused.content["detail"]


def test_pages_of_a_conversation_go_on_by_their_token(session, verified):
    for number in range(3):
        MessageFactory(conversation_id=verified.conversation_id, content=f"message {number}")
    first = call(session, verified, "read_conversation", {"limit": 2}).content
    rest = call(session, verified, "read_conversation", {"before": first["next"]}).content
    texts = [message["text"] for message in first["messages"] + rest["messages"]]
    assert texts == ["message 2", "message 1", "message 0", "Reset my password"]
    assert rest["next"] is None


def test_notes_of_colleagues_are_not_read_out(session, verified):
    conversations.note(session, verified.conversation_id, "SECRET-NOTE", actor="human:7")
    assert "SECRET-NOTE" not in call(session, verified, "read_conversation", {}).as_text()


def test_searches_take_an_embedder_or_a_ready_vector(session, verified):
    session.execute(text("DELETE FROM knowledge_base"))
    KnowledgeBaseEntryFactory(title="Resetting a password")
    box = agent.tools(verified.conversation_id, embedder=LexicalEmbedder())
    values = {"query": "reset password"}
    titles = [
        [article["title"] for article in result.content["articles"]]
        for result in (
            call(session, box, "search_knowledge", values),
            verified.call(session, "search_knowledge", values, vector=LexicalEmbedder().embed(["reset"])[0]),
            call(session, verified, "search_knowledge", values),
        )
    ]
    assert titles == [["Resetting a password"]] * 3
    assert box.text_to_embed("search_knowledge", json.dumps(values)) == "reset password"
    assert box.text_to_embed("reply", {"content": "x"}) is None
    assert box.text_to_embed("search_knowledge", "{") is None


def test_an_embedder_that_fails_is_told_to_the_model(session, verified):
    class Away(LexicalEmbedder):
        def embed(self, texts):
            raise TimeoutError(texts)

    box = agent.tools(verified.conversation_id, embedder=Away())
    result = call(session, box, "search_knowledge", {"query": "SECRET"})
    assert (result.ok, result.content["code"]) == (False, "embedder_unavailable")
    assert "SECRET" not in result.as_text()


def test_a_conversation_that_is_gone_and_an_ill_formed_actor_are_the_caller_s_business(session):
    with pytest.raises(ConversationNotFound):
        agent.tools(uuid4()).call(session, "list_tickets", {})
    with pytest.raises(InvalidValue):
        agent.tools("x")
    with pytest.raises(InvalidValue):
        agent.tools(uuid4(), actor="robot")


def test_every_tool_and_argument_is_described_in_both_providers_shapes():
    box = agent.tools(uuid4())
    assert len(box) == len(READS | WRITES)
    assert {tool.name for tool in box if tool.writes} == set(WRITES)
    for tool, openai, anthropic in zip(box, box.openai(), box.anthropic(), strict=True):
        schema = anthropic["input_schema"]
        assert openai["type"] == "function"
        assert openai["function"] == {
            "name": tool.name, "description": tool.description, "parameters": schema,
        }  # fmt: skip
        assert (anthropic["name"], anthropic["description"]) == (tool.name, tool.description)
        assert len(tool.description) > 20
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        assert "$ref" not in json.dumps(schema)
        for name, argument in schema["properties"].items():
            assert argument.get("description"), (tool.name, name)
        assert set(schema.get("required", ())) <= schema["properties"].keys()
        forbidden = {"verified", "assurance", "customer_id", "conversation_id", "actor", "email", "phone"}
        assert not forbidden & schema["properties"].keys()
