"""A small model of who is who beside the services: whatever is done, in whatever order, they agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import AlreadyAbsorbed, IdentifierTaken
from app.models import Channel
from app.schemas import Identifier, Outcome, Resolution
from app.services import identity, merging

WHY = {"actor": "human:7", "reason": "model"}
OWN = {Channel.EMAIL: "email", Channel.WHATSAPP: "whatsapp", Channel.WEB_FORM: "email"}
EMAILS = [f"person{n}@example.com" for n in range(3)]
NUMBERS = [f"+4915112345{n:03}" for n in range(2)]

IDENTIFIERS = st.one_of(
    st.builds(Identifier, type=st.just("email"), value=st.sampled_from(EMAILS), verified=st.booleans()),
    st.builds(
        Identifier,
        type=st.sampled_from(["phone", "whatsapp"]),
        value=st.sampled_from(NUMBERS),
        verified=st.booleans(),
    ),
)


@dataclass(eq=False)
class Row:
    """An identifier as the model knows it."""

    key: str
    holder: UUID
    verified: bool
    heirs: list[tuple[int, UUID]] = field(default_factory=list)
    """To whom messages went that matched only this claim of a customer with proofs, in this order."""


@dataclass(eq=False)
class Done:
    """A merge as the model knows it, with what it has to give back."""

    id: UUID
    survivor: UUID
    absorbed: UUID
    rows: set[Row]
    made: set[Row]
    messages: set[UUID]
    redirects: set[UUID]
    open: bool = True


@dataclass
class Held:
    """Who holds an identifier of a call, or is the heir of such a claim, as the model knows it."""

    identifier: Identifier
    holder: UUID
    row: Row | None
    order: int = 0
    heir: UUID | None = None

    @property
    def verified(self) -> bool:
        return self.row is not None and self.row.verified


@dataclass
class Model:
    """Customers, identifiers by address, messages, merges. What profiles say is read from the database."""

    ever: list[UUID] = field(default_factory=list)
    living: set[UUID] = field(default_factory=set)
    redirects: dict[UUID, UUID] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    messages: dict[UUID, UUID] = field(default_factory=dict)
    merges: list[Done] = field(default_factory=list)
    lost: set[UUID] = field(default_factory=set)
    """Customers who held a proof that is gone."""
    diverted: int = 0

    def current(self, id_: UUID) -> UUID:
        return self.redirects.get(id_, id_)

    def holders(self, key: str, profiles: dict[str, set[UUID]]) -> list[tuple[UUID, Row | None]]:
        """A row counts; a profile only where there is none."""
        if key in self.rows:
            return [(self.rows[key].holder, self.rows[key])]
        return [(id_, None) for id_ in profiles.get(key, set())]

    def proofs(self, id_: UUID) -> set[Row]:
        return {row for row in self.rows.values() if row.holder == id_ and row.verified}

    def has_proofs(self, id_: UUID, beside: Row | None) -> bool:
        """Now or ever, also as somebody who was absorbed since."""
        absorbed = {one for one, target in self.redirects.items() if target == id_}
        return bool(self.proofs(id_) - {beside} or self.lost & {id_, *absorbed})

    def heirs(self, key: str) -> list[tuple[int, UUID]]:
        row = self.rows.get(key)
        return [] if row is None or row.verified else row.heirs

    def is_merged(self, row: Row) -> bool:
        """Whether a person merged the customer who claimed it, who had proven nothing."""
        return any(m.open and row in m.rows and m.absorbed not in self.lost for m in self.merges)

    def join(self, id_: UUID) -> None:
        self.ever.append(id_)
        self.living.add(id_)

    def add(self, key: str, holder: UUID, verified: bool) -> Row:
        self.rows[key] = Row(key, holder, verified)
        return self.rows[key]


def profiles(session: Session) -> dict[str, set[UUID]]:
    """Which customers' profiles name an address."""
    named: dict[str, set[UUID]] = {}
    for id_, email, phone in session.execute(text("SELECT id, lower(email), phone FROM customers")):
        for key in (email, phone):
            if key is not None and not key.endswith("@placeholder.invalid"):
                named.setdefault(key, set()).add(id_)
    return named


class Identities(RuleBasedStateMachine):
    session: Session

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = self.session.begin_nested()
        self.model = Model()

    def teardown(self) -> None:
        self.savepoint.rollback()
        self.session.expunge_all()

    def a_customer(self, data: st.DataObject, label: str) -> UUID:
        """Any that there ever was."""
        return data.draw(st.sampled_from(self.model.ever), label=label)

    @rule(
        asked=st.lists(IDENTIFIERS, min_size=1, max_size=3),
        channel=st.sampled_from(Channel),
    )
    def resolve(self, asked: list[Identifier], channel: Channel) -> None:
        known: dict[str, Identifier] = {}
        for identifier in asked:
            if identifier.value not in known or (
                identifier.verified and not known[identifier.value].verified
            ):
                known[identifier.value] = identifier
        told = profiles(self.session)
        held = [
            Held(identifier, holder, row)
            for key, identifier in known.items()
            for holder, row in self.model.holders(key, told)
        ]
        held += [
            Held(identifier, self.model.current(heir), None, order, heir)
            for key, identifier in known.items()
            for order, heir in self.model.heirs(key)
        ]
        resolution = identity.resolve(self.session, asked, channel=channel)
        self.check_resolution(resolution, known, held, OWN[channel])

    def can_be_claimed(self, entry: Held) -> bool:
        if entry.heir is not None:
            merged = entry.holder != entry.heir and entry.heir not in self.model.lost
        else:
            merged = entry.row is not None and self.model.is_merged(entry.row)
        return entry.verified or merged or not self.model.has_proofs(entry.holder, entry.row)

    def check_resolution(
        self, resolution: Resolution, known: dict[str, Identifier], held: list[Held], own_type: str
    ) -> None:
        def strength(entry: Held) -> tuple[bool, bool, int, UUID]:
            return (not entry.verified, entry.identifier.type != own_type, entry.order, entry.holder)

        taken = {entry.identifier.value for entry in held}
        attached = set(known) - taken
        with_proof = any(identifier.verified for identifier in known.values())
        if with_proof:
            proven = [entry for entry in held if entry.identifier.verified]
            eligible = [entry for entry in proven if entry.verified] or [
                entry for entry in proven if not self.model.has_proofs(entry.holder, entry.row)
            ]
        else:
            eligible = [entry for entry in held if self.can_be_claimed(entry)]
            led_on = {entry.identifier.value for entry in eligible if entry.heir}
            held = [e for e in held if e.identifier.value not in led_on or self.can_be_claimed(e)]
        others = {entry.holder for entry in held}
        if eligible:
            entry = min(eligible, key=strength)
            chosen = entry.holder
            assert resolution.customer_id == chosen
            assert resolution.matched_by == entry.identifier
            others -= {chosen}
            assert resolution.outcome is (Outcome.CONFLICT if others else Outcome.MATCHED)
            mine = [entry for entry in held if entry.holder == chosen]
            for entry in mine:
                row = self.model.rows.get(entry.identifier.value)
                if row and entry.identifier.verified and (row.holder == chosen or entry.heir):
                    row.holder, row.verified = chosen, True
            attached |= {e.identifier.value for e in mine if not e.row and not e.heir}
        else:
            chosen = resolution.customer_id
            assert resolution.outcome is Outcome.CREATED
            assert chosen not in self.model.living
            self.model.join(chosen)
            for entry in held:
                if entry.heir or with_proof > entry.identifier.verified:
                    continue
                if not entry.row:
                    attached.add(entry.identifier.value)
                elif with_proof:
                    entry.row.holder, entry.row.verified = chosen, True
                else:
                    self.model.diverted += 1
                    entry.row.heirs.append((self.model.diverted, chosen))
        assert resolution.assurance == ("verified" if with_proof else "claimed")
        assert set(resolution.candidates) == others
        assert {identifier.value for identifier in resolution.attached} == attached
        for key in attached:
            self.model.add(key, chosen, known[key].verified)

    @rule(data=st.data())
    @precondition(lambda self: len(self.model.living) > 1 or self.model.redirects)
    def merge(self, data: st.DataObject) -> None:
        survivor, absorbed = self.a_customer(data, "survivor"), self.a_customer(data, "absorbed")
        if survivor == absorbed:
            return
        open_ = [done for done in self.model.merges if done.open]
        first = [done for done in open_ if (done.survivor, done.absorbed) == (survivor, absorbed)]
        gone = [id_ for id_ in (survivor, absorbed) if id_ in self.model.redirects]
        told = profiles(self.session)
        if first:
            assert merging.merge(self.session, survivor, absorbed, **WHY).id == first[0].id
            return
        if gone:
            with pytest.raises(AlreadyAbsorbed) as refused:
                merging.merge(self.session, survivor, absorbed, **WHY)
            assert refused.value.current_id == self.model.current(gone[0])
            return
        done = merging.merge(self.session, survivor, absorbed, **WHY)
        made = {
            self.model.add(key, absorbed, False)
            for key, ids in told.items()
            if absorbed in ids and key not in self.model.rows
        }
        rows = {row for row in self.model.rows.values() if row.holder == absorbed}
        messages = {id_ for id_, owner in self.model.messages.items() if owner == absorbed}
        redirects = {id_ for id_, target in self.model.redirects.items() if target == absorbed}
        self.model.merges.append(Done(done.id, survivor, absorbed, rows, made, messages, redirects))
        for row in rows:
            row.holder = survivor
            if row.verified:
                self.model.lost.add(absorbed)
        self.model.messages |= dict.fromkeys(messages, survivor)
        self.model.redirects |= dict.fromkeys(redirects | {absorbed}, survivor)
        self.model.living.discard(absorbed)

    @rule(data=st.data())
    @precondition(lambda self: self.model.merges)
    def unmerge(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.model.merges), label="merge")
        report = merging.unmerge(self.session, done.id, **WHY)
        assert report.restored_id == done.absorbed
        if not done.open:
            return
        done.open = False
        living = self.model.current(done.survivor)
        assert report.survivor_id == living
        later, holder = [], done.survivor
        while holder != living:
            later.append(next(m for m in self.model.merges if m.open and m.absorbed == holder))
            holder = later[-1].survivor
        alive = set(self.model.rows.values())
        rows = {row for row in done.rows if row in alive and row.holder == living}
        messages = {id_ for id_ in done.messages if self.model.messages[id_] == living}
        redirects = {id_ for id_ in done.redirects if self.model.redirects.get(id_) == living}
        assert report.stayed["customer_identifiers"] == len(done.rows) - len(rows)
        assert report.stayed["messages"] == len(done.messages) - len(messages)
        for merge_ in later:
            merge_.rows -= rows
            merge_.messages -= messages
            merge_.redirects -= redirects | {done.absorbed}
        for row in rows:
            row.holder = done.absorbed
            if row.verified:
                self.model.lost.add(living)
            if row in done.made and not row.verified:
                del self.model.rows[row.key]
        self.model.messages |= dict.fromkeys(messages, done.absorbed)
        self.model.redirects |= dict.fromkeys(redirects, done.absorbed)
        del self.model.redirects[done.absorbed]
        self.model.living.add(done.absorbed)

    @rule(data=st.data(), identifier=IDENTIFIERS)
    @precondition(lambda self: self.model.living)
    def attach(self, data: st.DataObject, identifier: Identifier) -> None:
        customer = self.a_customer(data, "customer")
        holder = self.model.current(customer)
        held = self.model.holders(identifier.value, profiles(self.session))
        call: dict[str, Any] = {"channel": Channel.EMAIL, "actor": "human:7"}
        if {id_ for id_, _ in held} - {holder}:
            with pytest.raises(IdentifierTaken):
                identity.attach_identifier(self.session, customer, identifier, **call)
            return
        given = identity.attach_identifier(self.session, customer, identifier, **call)
        assert given.customer_id == holder
        row = self.model.rows.get(identifier.value) or self.model.add(identifier.value, holder, False)
        row.verified = row.verified or identifier.verified

    def row_id(self, row: Row) -> UUID:
        found = text("SELECT id FROM customer_identifiers WHERE identifier_value = :key")
        return self.session.scalars(found, {"key": row.key}).one()

    @rule(data=st.data(), proven=st.booleans())
    @precondition(lambda self: self.model.rows)
    def verify_or_detach(self, data: st.DataObject, proven: bool) -> None:
        row = self.model.rows[data.draw(st.sampled_from(sorted(self.model.rows)), label="row")]
        if proven:
            identity.verify_identifier(self.session, self.row_id(row), actor="human:7")
            row.verified = True
        else:
            identity.detach_identifier(self.session, self.row_id(row), actor="human:7")
            if row.verified:
                self.model.lost.add(row.holder)
            del self.model.rows[row.key]

    @rule(email=st.sampled_from(EMAILS), phone=st.none() | st.sampled_from(NUMBERS))
    def raw_customer(self, email: str, phone: str | None) -> None:
        """Another backend's way: in any letter case and without identifiers."""
        if email not in profiles(self.session):
            insert = text("INSERT INTO customers (id, email, phone) VALUES (:id, :email, :phone)")
            # Hypothesis has to see the same order of ids again.
            id_ = UUID(int=len(self.model.ever) + 1)
            self.session.execute(insert, {"id": id_, "email": email.title(), "phone": phone})
            self.model.join(id_)

    @rule(data=st.data())
    @precondition(lambda self: self.model.living)
    def raw_message(self, data: st.DataObject) -> None:
        customer = self.a_customer(data, "customer")
        insert = text("""
            WITH conversation AS (
                INSERT INTO conversations (customer_id, channel) VALUES (:id, 'email') RETURNING id
            )
            INSERT INTO messages (customer_id, conversation_id, channel, direction, role, content)
            SELECT :id, id, 'email', 'inbound', 'customer', 'Hi' FROM conversation RETURNING id
        """)
        message = self.session.scalars(insert, {"id": customer}).one()
        self.model.messages[message] = self.model.current(customer)

    @invariant()
    def agrees(self) -> None:
        model, ask = self.model, self.session.execute
        assert set(self.session.scalars(text("SELECT id FROM customers"))) == model.living
        redirects = dict(ask(text("SELECT absorbed_id, customer_id FROM customer_redirects")).all())
        assert redirects == model.redirects
        held = ask(text("SELECT identifier_value, customer_id, verified FROM customer_identifiers")).all()
        assert {key: (id_, verified) for key, id_, verified in held} == {
            key: (row.holder, row.verified) for key, row in model.rows.items()
        }
        assert len(held) == len(model.rows)
        messages = dict(ask(text("SELECT id, customer_id FROM messages")).all())
        assert messages == model.messages


@pytest.mark.parametrize("examples", [25, pytest.param(200, marks=pytest.mark.soak)])
def test_the_services_and_the_model_never_disagree(session, examples):
    machine = type("Machine", (Identities,), {"session": session})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
