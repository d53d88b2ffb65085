"""What an attacker can try with an address that is not his, and what he gets: never somebody's history."""

from __future__ import annotations

from itertools import count
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.models import Channel, Customer, CustomerIdentifier
from app.schemas import (
    Assurance,
    CustomerProfile,
    Identifier,
    IdentityPolicy,
    InboundMessage,
    Ingested,
    Outcome,
    Resolution,
)
from app.services import conversations, identity, merging, timeline
from app.testing import ConversationFactory, CustomerFactory, CustomerIdentifierFactory, MessageFactory

VICTIM = "victim@example.com"
HIS_NUMBER = "+4915199999999"
numbers = count()


def email(value: str = VICTIM, *, verified: bool = False) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def whatsapp(value: str = HIS_NUMBER) -> Identifier:
    return Identifier(type="whatsapp", value=f"whatsapp:{value}", verified=True)


def phone(value: str = HIS_NUMBER) -> Identifier:
    return Identifier(type="phone", value=value)


def resolve(session: Session, *identifiers: Identifier, **options: object) -> Resolution:
    return identity.resolve(session, identifiers, **({"channel": Channel.WEB_FORM} | options))


def write(session: Session, channel: Channel, *sender: Identifier, **values: object) -> Ingested:
    message = InboundMessage(
        channel=channel,
        account="support",
        provider_message_id=f"m{next(numbers)}",
        sender=sender,
        **({"content": "What did I order?"} | values),
    )
    return conversations.ingest(session, message)


def read(session: Session, customer_id: UUID) -> list[str]:
    return [entry.content for entry in timeline.history(session, customer_id).items]


def held(session: Session, customer_id: UUID) -> dict[str, bool | None]:
    rows = select(CustomerIdentifier.identifier_value, CustomerIdentifier.verified)
    return {r[0]: r[1] for r in session.execute(rows.where(CustomerIdentifier.customer_id == customer_id))}


@pytest.fixture
def victim(session) -> UUID:
    """Somebody who has proved an address, and has a history."""
    customer = CustomerFactory(with_email=True, email=VICTIM, name=None)
    MessageFactory(conversation=ConversationFactory(customer=customer), content="My secret")
    return customer.id


def test_the_form_with_a_victims_address_gives_no_assurance_and_no_history(session, victim):
    form = write(session, Channel.WEB_FORM, email(), phone())
    assert form.customer_id == victim
    assert form.resolution.assurance is Assurance.CLAIMED
    # The answer goes to the address that was typed, which is the victim's, and to nothing of the writer.
    assert conversations.reply_target(session, form.conversation_id).value == VICTIM
    assert held(session, victim) == {VICTIM: True, HIS_NUMBER: False}

    on_whatsapp = write(session, Channel.WHATSAPP, whatsapp())
    assert on_whatsapp.customer_id != victim
    assert on_whatsapp.resolution.assurance is Assurance.VERIFIED
    assert read(session, on_whatsapp.customer_id) == ["What did I order?"]
    assert held(session, victim) == {VICTIM: True}
    assert on_whatsapp.resolution.candidates == (victim,)


def test_his_number_proven_first_stays_his_whatever_he_types_later(session, victim):
    his = write(session, Channel.WHATSAPP, whatsapp()).customer_id
    for _ in range(2):
        form = write(session, Channel.WEB_FORM, email(), phone())
        assert (form.customer_id, form.resolution.assurance) == (victim, Assurance.CLAIMED)
        assert (form.resolution.outcome, form.resolution.candidates) == (Outcome.CONFLICT, (his,))
        again = write(session, Channel.WHATSAPP, whatsapp(), email())
        assert (again.customer_id, again.resolution.assurance) == (his, Assurance.VERIFIED)
    assert (held(session, his), held(session, victim)) == ({HIS_NUMBER: True}, {VICTIM: True})
    assert "My secret" not in read(session, his)


def test_a_proof_beside_the_victims_address_makes_a_customer_of_its_own(session, victim):
    mixed = write(session, Channel.WHATSAPP, whatsapp(), email())
    assert mixed.customer_id != victim
    assert mixed.resolution.candidates == (victim,)
    assert held(session, mixed.customer_id) == {HIS_NUMBER: True}
    assert read(session, mixed.customer_id) == ["What did I order?"]


def test_typing_the_address_a_hundred_times_proves_nothing(session, victim):
    for n in range(100):
        resolution = resolve(session, email(), phone(f"+49151000000{n:02}"))
        assert (resolution.customer_id, resolution.assurance) == (victim, Assurance.CLAIMED)
    assert [value for value, verified in held(session, victim).items() if verified] == [VICTIM]


def test_a_claimed_address_is_taken_back_by_its_owner(session):
    squatter = write(session, Channel.WHATSAPP, whatsapp(), email(), content="Mine").customer_id
    assert session.get_one(Customer, squatter).email == VICTIM
    owner = write(session, Channel.EMAIL, email(verified=True), content="No, mine").customer_id
    session.expire_all()
    assert owner != squatter
    assert session.get_one(Customer, owner).email == VICTIM
    assert session.get_one(Customer, squatter).contact_email is None
    assert (held(session, squatter), held(session, owner)) == ({HIS_NUMBER: True}, {VICTIM: True})
    assert (read(session, squatter), read(session, owner)) == (["Mine"], ["No, mine"])


def test_an_unproven_squatter_gets_nothing_once_the_owner_has_proved(session):
    squatted = write(session, Channel.WEB_FORM, email(), phone(), content="Mine").customer_id
    owner = write(session, Channel.EMAIL, email(verified=True), content="No, mine")
    assert (owner.customer_id, owner.resolution.assurance) == (squatted, Assurance.VERIFIED)
    his = write(session, Channel.WHATSAPP, whatsapp())
    assert his.customer_id != squatted
    assert read(session, his.customer_id) == ["What did I order?"]


def test_who_never_proved_anything_is_whoever_proves_one_of_the_claims_first(session):
    """The limit of rule 3, which the page on identity tells."""
    typed = write(session, Channel.WEB_FORM, email(), phone()).customer_id
    first = write(session, Channel.WHATSAPP, whatsapp())
    assert (first.customer_id, first.resolution.assurance) == (typed, Assurance.VERIFIED)
    # From then on the other claims are worth nothing: their owner becomes a customer of his own.
    assert write(session, Channel.EMAIL, email(verified=True)).customer_id != typed


def test_a_recycled_number_is_its_old_owners_until_somebody_detaches_it(session):
    old = write(session, Channel.WHATSAPP, whatsapp(), content="My secret").customer_id
    # The channel proves the number and cannot know that it has another owner now.
    new_owner = write(session, Channel.WHATSAPP, whatsapp())
    assert (new_owner.customer_id, new_owner.resolution.assurance) == (old, Assurance.VERIFIED)

    identifier = session.scalars(
        select(CustomerIdentifier.id).where(CustomerIdentifier.customer_id == old)
    ).one()
    identity.detach_identifier(session, identifier, actor="human:7", reason="recycled number")
    after = write(session, Channel.WHATSAPP, whatsapp())
    assert after.customer_id != old
    assert read(session, after.customer_id) == ["What did I order?"]
    session.expire_all()
    assert session.get_one(Customer, old).phone is None
    assert read(session, old) == ["What did I order?", "My secret"]


OTHER_MAILBOXES = {
    "a Cyrillic letter": "victim@example.com".replace("c", "\u0441", 1),
    "a Cyrillic letter in the domain": "victim@ex\u0430mple.com",
    "a dotless i": "v\u0131ctim@example.com",
    "an accent": "v\u00edctim@example.com",
    "another domain": "victim@example.co",
    "a dot": "vic.tim@example.com",
    "a tag": "victim+x@example.com",
}


@pytest.mark.parametrize("value", OTHER_MAILBOXES.values(), ids=OTHER_MAILBOXES)
@pytest.mark.parametrize("verified", [False, True])
def test_a_mailbox_that_looks_alike_is_somebody_else(session, victim, value, verified):
    assert identity.find_customer(session, email(value)) is None
    assert resolve(session, email(value, verified=verified)).customer_id != victim


FOLDED = {
    "fullwidth letters": "\uff56ictim@example.com",
    "a fullwidth domain": "victim@\uff45xample.com",
    "a superscript": "v\u2071ctim@example.com",
    "an @ in another width": "victim\uff20example.com",
    "bold mathematics": "\U0001d42fictim@example.com",
}


@pytest.mark.parametrize("value", FOLDED.values(), ids=FOLDED)
def test_a_spelling_that_is_folded_to_the_victims_address_proves_nothing(session, victim, value):
    resolution = resolve(session, email(value, verified=True))
    if "@" in value and value.startswith("victim@"):
        # Domains fold in the same way wherever they are looked up: this is the victim's own mailbox.
        assert (resolution.customer_id, resolution.assurance) == (victim, Assurance.VERIFIED)
    else:
        assert (resolution.customer_id, resolution.assurance) == (victim, Assurance.CLAIMED)
    assert len(held(session, victim)) == 1


@pytest.mark.parametrize("thread", [None, "<root@example.com>"], ids=["open conversation", "thread"])
@pytest.mark.parametrize("value", FOLDED.values(), ids=FOLDED)
@pytest.mark.parametrize("look_alike_first", [False, True])
def test_a_look_alike_and_the_real_address_have_a_route_each(
    session, victim, value, thread, look_alike_first
):
    order = [email(value), email(verified=True)][:: 1 if look_alike_first else -1]
    sent = [write(session, Channel.EMAIL, sender, thread_id=thread) for sender in order]
    again = [write(session, Channel.EMAIL, sender, thread_id=thread) for sender in order]
    assert {message.customer_id for message in sent} == {victim}
    if value.startswith("victim@"):
        # A domain folds in the same way wherever it is looked up: one mailbox.
        assert len({message.conversation_id for message in [*sent, *again]}) == 1
        return
    assert sent[0].conversation_id != sent[1].conversation_id
    assert [message.conversation_id for message in again] == [message.conversation_id for message in sent]
    for sender, message in zip(order, sent, strict=True):
        assert conversations.reply_target(session, message.conversation_id).value == sender.value


def test_another_address_of_the_customer_stays_in_the_thread(session, victim):
    CustomerIdentifierFactory(customer_id=victim, identifier_value="work@example.com", verified=True)
    first = write(session, Channel.EMAIL, email(verified=True), thread_id="<root@example.com>")
    other = email("work@example.com", verified=True)
    assert write(session, Channel.EMAIL, other, thread_id="<root@example.com>").conversation_id == (
        first.conversation_id
    )


@pytest.mark.parametrize("value", ["VICTIM@EXAMPLE.COM", " Victim@Example.com ", "victim@EXAMPLE.com"])
def test_spellings_of_one_mailbox_share_a_conversation(session, victim, value):
    first = write(session, Channel.EMAIL, email(verified=True))
    assert write(session, Channel.EMAIL, email(value)).conversation_id == first.conversation_id


@pytest.mark.parametrize("value", ["VICTIM@EXAMPLE.COM", " Victim@Example.com "])
def test_capitals_are_the_same_mailbox_and_prove_it(session, victim, value):
    resolution = resolve(session, email(value, verified=True))
    assert (resolution.customer_id, resolution.assurance) == (victim, Assurance.VERIFIED)


def test_a_composed_and_a_decomposed_letter_are_one_mailbox(session):
    composed = resolve(session, email("zo\u00eb@example.com", verified=True))
    again = resolve(session, email("ZOE\u0308@example.com", verified=True))
    assert (again.customer_id, again.assurance) == (composed.customer_id, Assurance.VERIFIED)


@pytest.mark.parametrize(
    "value",
    [
        "vic\u200btim@example.com",
        "victim@example.com\u202e",
        "vic\u00adtim@example.com",
        "victim @example.com",
    ],
)
def test_invisible_characters_are_refused(session, victim, value):
    with pytest.raises(InvalidValue):
        resolve(session, email(value, verified=True))


@pytest.mark.parametrize(
    "spelling",
    [
        "{}@placeholder.invalid",
        "{}@PLACEHOLDER.INVALID",
        "{}\uff20placeholder.invalid",
        "{}+x@placeholder.invalid",
    ],
)
def test_who_knows_a_customers_id_gets_nowhere_with_it(session, spelling):
    victim = CustomerFactory(with_whatsapp=True)
    victim.email = f"{victim.id}@placeholder.invalid"
    session.flush()
    guess = email(spelling.format(str(victim.id).upper()), verified=True)
    assert identity.find_customer(session, guess) is None
    resolution = resolve(session, guess)
    assert resolution.customer_id != victim.id
    assert len(resolution.ignored) == 1
    assert held(session, resolution.customer_id) == {}


def test_an_id_in_a_payload_is_content_and_nothing_else(session, victim):
    extra = {"customer_id": str(victim), "verified": True}
    sent = write(session, Channel.WEB_FORM, email("eve@example.com"), extra=extra, thread_id=str(victim))
    assert sent.customer_id != victim
    assert sent.conversation_opened


def test_the_thread_of_somebody_else_is_no_way_into_the_conversation(session, victim):
    first = write(session, Channel.EMAIL, email(verified=True), thread_id="<root@example.com>")
    reply = write(session, Channel.EMAIL, email("eve@example.com"), thread_id="<root@example.com>")
    assert reply.customer_id != victim
    assert reply.conversation_id != first.conversation_id


def test_an_absorbed_customers_identifiers_keep_their_assurance(session, victim):
    other = CustomerIdentifierFactory(identifier_value="second@example.com").customer_id
    merging.merge(session, victim, other, actor="human:7", reason="same")
    claimed = resolve(session, email("second@example.com"))
    assert (claimed.customer_id, claimed.assurance) == (victim, Assurance.CLAIMED)
    # Merged by a person, so no longer anybody's but the victim's; still it was never proved.
    assert resolve(session, email("second@example.com", verified=True)).customer_id != victim


def test_a_claim_does_not_write_into_a_proven_customers_profile(session, victim):
    told = CustomerProfile(name="Eve", company="Eve & Co")
    resolve(session, email(), phone(), email("eve@example.com"), profile=told)
    session.expire_all()
    profile = session.get_one(Customer, victim)
    assert (profile.name, profile.company, profile.phone, profile.email) == (None, None, None, VICTIM)
    resolve(session, email(verified=True), profile=told)
    session.expire_all()
    assert (profile.name, profile.company) == ("Eve", "Eve & Co")


def test_a_bad_typed_field_loses_no_message(session, victim):
    bad = Identifier(type="phone", value="asdf")
    form = write(session, Channel.WEB_FORM, email(), bad)
    assert form.customer_id == victim
    assert form.resolution.ignored == (bad,)
    assert held(session, victim) == {VICTIM: True}


@pytest.mark.parametrize(
    "sender",
    [
        (Identifier(type="email", value="asdf"), phone()),
        (email(), Identifier(type="phone", value="asdf", verified=True)),
        (Identifier(type="email", value="asdf"),),
    ],
)
def test_a_bad_own_identifier_or_a_bad_proof_is_refused_and_nothing_is_stored(session, victim, sender):
    before = read(session, victim)
    with pytest.raises(InvalidValue) as caught:
        write(session, Channel.WEB_FORM, *sender)
    assert "asdf" not in str(caught.value)
    assert read(session, victim) == before


def test_the_lenient_policy_is_the_lookup_by_any_identifier(session, victim):
    """Search by email, then by phone, and believe it: for backends whose channels are all trusted."""
    lenient = {"policy": IdentityPolicy.LENIENT}
    found = resolve(session, email(), phone(), **lenient)
    assert (found.customer_id, found.outcome, found.assurance) == (
        victim,
        Outcome.MATCHED,
        Assurance.VERIFIED,
    )
    by_phone = resolve(session, phone(), **lenient)
    assert (by_phone.customer_id, by_phone.assurance) == (victim, Assurance.VERIFIED)
    stranger = resolve(session, email("new@example.com"), **lenient)
    assert stranger.outcome is Outcome.CREATED
    both = resolve(session, email(), email("new@example.com"), **lenient)
    assert (both.outcome, both.customer_id) == (Outcome.CONFLICT, victim)
    # Believing is not writing: what was never proved is not stored as a proof.
    assert held(session, victim) == {VICTIM: True, HIS_NUMBER: False}
