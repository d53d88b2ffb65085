"""Every factory: what it builds is what the database holds, and is legal."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from factory.declarations import SelfAttribute, SubFactory
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app import models, testing
from app.models import TRANSITIONS, Base, Channel, IdentifierType, MessageDirection, TicketStatus
from app.normalization import normalize_identifier
from app.services import indexing
from app.testing import (
    AgentMetricFactory,
    ChannelConfigFactory,
    ConversationFactory,
    ConversationRouteFactory,
    CustomerFactory,
    CustomerIdentifierFactory,
    CustomerRedirectFactory,
    EmbeddingModelFactory,
    EmbeddingQueueEntryFactory,
    IdentityEventFactory,
    KnowledgeBaseEntryFactory,
    KnowledgeEmbeddingFactory,
    MessageEmbeddingFactory,
    MessageFactory,
    ProviderMessageFactory,
    TicketEmbeddingFactory,
    TicketFactory,
    bound_to,
)

FACTORIES = [
    getattr(testing, name)
    for name in testing.__all__
    if name.endswith("Factory") and name != "CRMFactory"  # the base of all
]
OWNED = [ConversationFactory, CustomerIdentifierFactory, IdentityEventFactory, MessageFactory, TicketFactory]
NOT_BUILT = {
    models.ChannelSettingChange,
    models.Erasure,
    models.FeedChange,
    models.KnowledgeDocument,
    models.ReplacedModel,
    models.SearchThreshold,
    models.LostProof,
    models.TicketFieldChange,
    models.TicketRecordHead,
    models.TicketStatusChange,
}


def columns_of(row: Base) -> dict[str, object]:
    loaded = inspect(row).dict
    return {attr.key: loaded.get(attr.key) for attr in inspect(type(row)).column_attrs}


def history(session: Session, ticket: models.Ticket) -> list[tuple[str | None, str, str]]:
    entry = models.TicketStatusChange
    return [
        tuple(row)
        for row in session.execute(
            select(entry.old_status, entry.new_status, entry.changed_by)
            .where(entry.ticket_id == ticket.id)
            .order_by(entry.seq)
        )
    ]


def test_every_model_has_a_factory():
    made = {factory._meta.model for factory in FACTORIES}
    assert made == {mapper.class_ for mapper in Base.registry.mappers} - NOT_BUILT


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_built_row_equals_the_stored_one(session, factory):
    row = factory()
    built = columns_of(row)
    session.expire_all()

    assert {key: getattr(row, key) for key in built} == built


def test_what_the_database_fills_in_comes_back_with_the_insert(session, queries):
    customer = CustomerFactory()
    assert (customer.plan, customer.extra) == ("free", {})
    assert customer.created_at is not None
    assert queries.count == 1, queries
    assert TicketFactory(customer=customer).ticket_number.startswith("TKT-")


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_factory_never_commits(session, factory):
    row = factory()
    table = factory._meta.model.__table__
    key = inspect(row).identity
    session.rollback()
    found = session.get(factory._meta.model, key)
    # The seeded row of a channel is only changed.
    assert (found is None) == (table.name != "channel_configs")


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_factory_can_be_used_again_and_again(session, factory):
    assert len(factory.create_batch(3)) == 3


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_row_can_be_built_without_a_database(factory):
    assert isinstance(factory.build(), factory._meta.model)


def test_without_a_session_a_factory_says_what_to_do():
    with pytest.raises(RuntimeError, match="bound_to"):
        CustomerFactory()


@pytest.mark.parametrize("status", TicketStatus)
def test_a_ticket_gets_to_any_status_by_legal_steps(session, status):
    ticket = TicketFactory(status=status, actor="human:7")

    assert ticket.status is status
    entries = history(session, ticket)
    assert entries[0][:2] == (None, TicketStatus.OPEN)
    assert entries[-1][1] == status
    assert all(new in TRANSITIONS[old] for old, new, _ in entries[1:])
    assert {actor for _, _, actor in entries} == {"human:7"}
    assert (ticket.resolved_at is not None) == (status in (TicketStatus.RESOLVED, TicketStatus.CLOSED))


@pytest.mark.parametrize("trait", ["resolved", "escalated", "closed"])
def test_a_ticket_trait_names_its_status(session, trait):
    assert TicketFactory(**{trait: True}).status is TicketStatus(trait)


def test_a_ticket_takes_its_status_as_text_too(session):
    assert TicketFactory(status="waiting").status is TicketStatus.WAITING


def test_a_ticket_can_have_been_resolved_in_the_past(session):
    then = datetime(2025, 3, 1, tzinfo=UTC)
    assert TicketFactory(closed=True, resolved_at=then).resolved_at == then


def test_an_unknown_status_is_refused(session):
    with pytest.raises(ValueError, match="reopened"):
        TicketFactory(status="reopened")


def test_the_actor_of_a_factory_is_not_inherited_by_the_next_change(session):
    ticket = TicketFactory(status=TicketStatus.PROCESSING, actor="human:7")
    ticket.status = TicketStatus.WAITING
    session.flush()
    assert history(session, ticket)[-1][2].startswith("db:")


def test_a_change_of_the_test_itself_is_not_recorded_as_the_factory_s(session):
    ticket = TicketFactory(actor="human:7")
    ticket.status = TicketStatus.WAITING
    TicketFactory(actor="human:8")
    assert history(session, ticket)[-1][2].startswith("db:")


@pytest.mark.parametrize(
    ("trait", "type_", "channel"),
    [
        ("with_email", IdentifierType.EMAIL, Channel.EMAIL),
        ("with_whatsapp", IdentifierType.WHATSAPP, Channel.WHATSAPP),
    ],
)
def test_a_customer_trait_adds_a_verified_identifier(session, trait, type_, channel):
    customer = CustomerFactory(**{trait: True})
    (identifier,) = session.scalars(
        select(models.CustomerIdentifier).where(models.CustomerIdentifier.customer_id == customer.id)
    )
    profile = customer.email if type_ is IdentifierType.EMAIL else customer.phone
    assert (identifier.identifier_type, identifier.identifier_value) == (type_, profile)
    assert (identifier.channel, identifier.verified) == (channel, True)


def test_both_customer_traits_combine(session):
    customer = CustomerFactory(with_email=True, with_whatsapp=True, email="ada@example.com")
    assert session.scalar(select(func.count()).select_from(models.CustomerIdentifier)) == 2
    assert customer.contact_email == "ada@example.com"


def test_a_conversation_with_messages_is_a_question_and_an_answer(session):
    conversation = ConversationFactory(with_messages=True, channel=Channel.WHATSAPP)
    messages = session.scalars(
        select(models.Message)
        .where(models.Message.conversation_id == conversation.id)
        .order_by(models.Message.created_at, models.Message.id)
    ).all()
    assert [message.direction for message in messages] == [
        MessageDirection.INBOUND,
        MessageDirection.OUTBOUND,
    ]
    assert {message.customer_id for message in messages} == {conversation.customer_id}
    assert {message.channel for message in messages} == {Channel.WHATSAPP}


def test_a_closed_conversation_has_an_end(session):
    assert isinstance(ConversationFactory(closed=True).closed_at, datetime)


def test_a_message_ticket_or_receipt_agrees_with_its_owners(session):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer_id=customer.id, channel=Channel.WHATSAPP)
    message = MessageFactory(conversation_id=conversation.id)
    ticket = TicketFactory(conversation_id=conversation.id)
    receipt = ProviderMessageFactory(message_id=message.id)
    route = ConversationRouteFactory(conversation_id=conversation.id)

    assert {message.customer_id, ticket.customer_id, conversation.customer_id} == {customer.id}
    assert {message.channel, ticket.source_channel, receipt.channel, route.channel} == {Channel.WHATSAPP}
    assert (ticket.conversation_id, receipt.message_id) == (conversation.id, message.id)
    assert route.identifier_type is IdentifierType.WHATSAPP
    for table, count in {models.Customer: 1, models.Conversation: 1, models.Message: 1}.items():
        assert session.scalar(select(func.count()).select_from(table)) == count


@pytest.mark.parametrize(
    "factory", [MessageFactory, TicketFactory, ConversationFactory, CustomerIdentifierFactory]
)
@pytest.mark.parametrize("by", ["row", "id"])
def test_an_owner_is_passed_as_a_row_or_as_an_id(session, factory, by):
    customer = CustomerFactory()
    row = factory(customer=customer) if by == "row" else factory(customer_id=customer.id)
    assert row.customer_id == customer.id
    assert session.scalar(select(func.count()).select_from(models.Customer)) == 1
    if factory is MessageFactory:
        owner = session.scalar(select(models.Conversation.customer_id))
        assert owner == customer.id


def test_an_owner_s_fields_are_passed_through(session):
    message = MessageFactory(
        conversation__customer__email="ada@example.com", conversation__channel="whatsapp"
    )
    assert message.channel == Channel.WHATSAPP
    assert session.scalar(select(models.Customer.email)) == "ada@example.com"
    ticket = TicketFactory(customer__name="Grace Example")
    assert session.get_one(models.Customer, ticket.customer_id).name == "Grace Example"


def test_a_redirect_leads_from_the_absorbed_customer_to_the_survivor(session):
    survivor = CustomerFactory()
    redirect = CustomerRedirectFactory(merge__survivor=survivor)
    assert redirect.customer_id == survivor.id
    assert session.get(models.Customer, redirect.absorbed_id) is None


def test_an_owner_that_does_not_exist_is_refused(session):
    with pytest.raises(NoResultFound):
        TicketFactory(customer_id=uuid4())


@pytest.mark.parametrize("channel", Channel)
def test_a_channel_config_is_the_seeded_row(session, channel):
    before = session.scalar(select(models.ChannelConfig).where(models.ChannelConfig.channel == channel))
    unchanged = columns_of(before)
    config = ChannelConfigFactory(channel=channel)
    assert config is before
    assert columns_of(config) == unchanged


def test_a_channel_config_takes_what_is_passed(session):
    config = ChannelConfigFactory(channel=Channel.EMAIL, is_enabled=False, response_template=None)
    session.expire_all()
    assert (config.is_enabled, config.response_template, config.max_response_length) == (False, None, 500)


def test_a_channel_config_is_created_where_it_is_missing(session):
    session.execute(text("DELETE FROM channel_configs"))
    assert ChannelConfigFactory(channel="web_form").max_response_length == 300


def test_metrics_and_articles_take_any_value(session):
    assert AgentMetricFactory(value=0.25, metric_type="sentiment").value == 0.25
    assert KnowledgeBaseEntryFactory(title="Refunds", category="billing").title == "Refunds"


def test_built_embeddings_are_those_of_the_objects_present_text(session):
    """So that nothing is embedded again."""
    EmbeddingModelFactory(object_type="message", model="letters")
    EmbeddingModelFactory(object_type="ticket", model="letters")
    message = MessageEmbeddingFactory(message__content="Hello", model="letters")
    TicketEmbeddingFactory(ticket__subject="Help", model="letters")
    KnowledgeEmbeddingFactory(article__title="Refunds", article__content="Ask.", model="letters")

    of_knowledge, of_messages, of_tickets = indexing.embedding_status(session)

    assert (of_messages.current, of_messages.missing) == (of_tickets.current, of_tickets.missing) == (1, 0)
    assert of_knowledge.models == {"letters": 1}
    hashes = [
        select(func.encode(table.content_hash, "hex"))
        for table in (models.MessageEmbedding, models.TicketEmbedding, models.KnowledgeEmbedding)
    ]
    assert [session.scalar(one) for one in hashes] == [
        sha256(text.encode()).hexdigest() for text in ("Hello", "Help", "Refunds\nAsk.")
    ]
    assert session.get_one(models.MessageEmbedding, (message.message_id, "letters")) is message


def test_the_model_of_a_type_is_one_row_that_is_changed(session):
    EmbeddingModelFactory(model="one")
    assert EmbeddingModelFactory(model="two").model == "two"
    assert session.scalars(select(models.EmbeddingModel.model)).all() == ["two"]


def test_a_queue_entry_may_name_a_ticket(session):
    ticket = TicketFactory()
    entry = EmbeddingQueueEntryFactory(object_type="ticket", object_id=ticket.id)
    assert (entry.object_type, entry.object_id) == ("ticket", ticket.id)


def test_each_thread_builds_into_its_own_session(crm_clone):
    ready = threading.Barrier(4)
    emails: list[str] = []
    errors: list[BaseException] = []

    def build() -> None:
        try:
            with Session(crm_clone) as own, bound_to(own):
                ready.wait(10)
                made = CustomerFactory.create_batch(50)
                assert {Session.object_session(customer) for customer in made} == {own}
                emails.extend(customer.email for customer in made)
                own.commit()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert len(set(emails)) == 200


def test_bindings_nest(session, crm_clone):
    with Session(crm_clone) as other:
        with bound_to(other):
            inner = CustomerFactory()
        outer = CustomerFactory()
        assert (Session.object_session(inner), Session.object_session(outer)) == (other, session)


@pytest.mark.parametrize("channel", Channel)
def test_identifiers_and_routes_are_in_canonical_form(session, channel):
    made = [
        CustomerIdentifierFactory(channel=channel),
        ConversationRouteFactory(conversation__channel=channel),
    ]
    for row in made:
        assert normalize_identifier(row.identifier_type, row.identifier_value) == row.identifier_value
    assert normalize_identifier(made[1].identifier_type, made[1].address) == made[1].identifier_value
    phone = CustomerFactory(with_whatsapp=True).phone
    assert normalize_identifier(IdentifierType.WHATSAPP, phone) == phone


def test_a_factory_of_somebody_elses_model_builds_into_the_same_session(session):
    class TheirBase(DeclarativeBase):
        """Knows none of our tables."""

    class Parcel(TheirBase):
        __tablename__ = "parcels"
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[UUID]

    class ParcelFactory(testing.CRMFactory[Parcel]):
        class Meta:
            model = Parcel
            exclude = ("customer",)

        customer = SubFactory(CustomerFactory)
        customer_id = SelfAttribute("customer.id")

    session.execute(text("CREATE TEMPORARY TABLE parcels (id serial PRIMARY KEY, customer_id uuid)"))
    customer = CustomerFactory()

    assert ParcelFactory(customer=customer).customer_id == customer.id
    assert ParcelFactory().customer_id is not None
    assert session.scalar(select(func.count()).select_from(Parcel)) == 2
