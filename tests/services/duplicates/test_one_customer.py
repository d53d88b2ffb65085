"""The pairs of one customer: those of the whole base with it, by a search that does not read the base."""

from __future__ import annotations

import random
from itertools import count
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from app.models import Channel, IdentityEventType
from app.services import duplicates, merging
from app.services.duplicates import blocking
from app.services.duplicates.blocking import MOST_HOLDERS, PAIRS_OF_ONE, UNSEEN, Pair
from app.testing import CustomerFactory, CustomerIdentifierFactory, IdentityEventFactory

WORDS = "Ana Anabel ana Ána SILVA Silva Bruno O'Neill 李 明 🌸 -- Q" + " Łukasz" + " x" * 3
COMPANIES = (
    None,
    None,
    "",
    "Acme",
    "ACME, Inc.",
    "Acme Ltd",
    "acme.example",
    "Ltd",
    "Ünion S.A.",
    "\ufdfa" * 255,
)
BOXES = ("ana.silva", "anasilva", "ana.silva+x", "a", "+x", "info", "in.fo", "INFO", "bruno_1", "bruno1")
DOMAINS = (
    "gmail.com",
    "googlemail.com",
    "Gmail.com",
    "acme.example",
    "acme.example",
    "union.example",
    "acme",
)
NUMBERS = (
    "+4915112345678",
    "4915112345678",
    "+49 (151) 1234-5678",
    "0000000",
    "123456",
    "+4930 1",
    "call me 1234567",
)
MEETINGS = (IdentityEventType.CONFLICT, IdentityEventType.REASSIGNED, IdentityEventType.UNMERGED)


def populate(session: Session, seed: int, size: int = 40) -> list[UUID]:
    """Customers with much in common; some are merged, rejected or met. The ids of those left."""
    draw, numbers = random.Random(seed), count()
    emails = sorted({f"{box}@{domain}" for box in BOXES for domain in DOMAINS})
    draw.shuffle(emails)
    people = []
    for _ in range(size):
        known = {
            "name": draw.choice(
                [None, " ".join(draw.choices(WORDS.split(), k=draw.choice((1, 2, 2, 3, 12))))]
            )
        }
        known["company"], known["phone"] = draw.choice(COMPANIES), draw.choice([None, None, *NUMBERS])
        placeholder = f"{next(numbers)}@placeholder.invalid"
        known["email"] = emails.pop() if emails and draw.random() < 0.6 else placeholder
        people.append(CustomerFactory(**known))
    for kind, value in {
        *(("email", draw.choice(emails).lower()) for _ in range(size // 2)),
        *((draw.choice(("phone", "whatsapp")), value) for value in (*NUMBERS, "US.abc1234567")),
    }:
        CustomerIdentifierFactory(
            customer=draw.choice(people),
            identifier_type=kind,
            identifier_value=value,
            channel=Channel.WHATSAPP,
            verified=draw.random() < 0.5,
        )
    ids = [person.id for person in people]
    for _ in range(size // 2):
        one, other = draw.sample(ids, 2)
        IdentityEventFactory(event=draw.choice(MEETINGS), customer_id=one, other_customer_id=other)
    for _ in range(size // 4):
        one, other = draw.sample(ids, 2)
        duplicates.reject_duplicate(session, one, other, actor="human:7", reason="two people")
    for _ in range(size // 10):
        one, other = draw.sample(ids, 2)
        merging.merge(session, one, other, actor="human:7", reason="one person")
        ids.remove(other)
    session.flush()
    return ids


def of(pairs: list[Pair], customer_id: UUID) -> list[Pair]:
    return sorted(pair for pair in pairs if customer_id in (pair.a_id, pair.b_id))


@pytest.mark.parametrize("most", [2, 4, MOST_HOLDERS])
@pytest.mark.parametrize("seed", range(4))
def test_one_customers_pairs_are_those_of_the_whole_base(session, monkeypatch, seed, most):
    monkeypatch.setattr(blocking, "MOST_HOLDERS", most)
    monkeypatch.setattr(blocking, "UNSEEN", 10)
    ids = populate(session, seed)
    whole = list(blocking.pairs(session, None))
    assert len(whole) > 20
    for id_ in ids:
        assert sorted(blocking.pairs(session, id_)) == of(whole, id_)


def test_what_more_than_one_in_a_hundred_have_is_counted_no_further_by_either(session, monkeypatch):
    monkeypatch.setattr(blocking, "MOST_HOLDERS", 2)
    monkeypatch.setattr(blocking, "UNSEEN", 0)
    people = [
        CustomerFactory(name=name, company="Acme", email=f"{n}@example.com", phone="+4915112345678" * (n < 2))
        for n, name in enumerate(["Ana Silva"] * 30)
    ]
    (pair,) = blocking.pairs(session, people[0].id)
    assert (pair.most, pair.number, pair.name_holders, pair.company_holders) == (20, 2, 21, 21)
    assert (*pair.a_domain_holders, *pair.b_domain_holders) == (21, 21)
    assert [pair] == of(list(blocking.pairs(session, None)), people[0].id)


INSERT = """
    WITH made AS (
        INSERT INTO customers (email, name, company, phone)
        SELECT 'person' || n || '@gmail.com', 'Ana ' || md5(n\\:\\:text), 'Company ' || n % 400, 1000000 + n
        FROM generate_series(1 + :rows * :part, :rows + :rows * :part) AS n
        RETURNING id, email
    )
    INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
    SELECT id, 'email', email, 'email' FROM made
"""
READ = """
    SELECT relname, seq_tup_read, COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
    WHERE relname IN ('customers', 'customer_identifiers') ORDER BY 1
"""


def rows_read(connection: Connection) -> tuple[list[str], int, int]:
    """The plan of a search, and the rows that it reads in order and by index."""
    only = connection.scalar(text("SELECT id FROM customers WHERE email = 'person7@gmail.com'"))
    arguments = {"only": only, "most": MOST_HOLDERS, "unseen": UNSEEN}
    connection.commit()
    plan = list(connection.scalars(text(f"EXPLAIN {PAIRS_OF_ONE.text}"), arguments))
    connection.execute(PAIRS_OF_ONE, arguments).all()
    read = connection.execute(text(READ)).all()
    connection.rollback()
    return plan, sum(row[1] for row in read), sum(row[2] for row in read)


@pytest.mark.soak
def test_one_customers_pairs_are_found_without_reading_the_base(crm_clone: Engine):
    """Those are counted who have a word or a domain that all have, but no more of them than the limit."""
    rows = 12_000
    with crm_clone.connect() as connection:
        read = []
        for part in range(2):
            connection.execute(text(INSERT), {"rows": rows, "part": part})
            connection.commit()
            connection.execute(text("ANALYZE customers, customer_identifiers"))
            connection.commit()
            read.append(rows_read(connection))
    for plan, in_order, by_index in read:
        assert not [line for line in plan if "Seq Scan on customer" in line and "redirects" not in line]
        # The number of customers is counted up to ten thousand.
        assert in_order <= 10_000
        assert by_index < 4000
