"""Forged mail, from its bytes to the record: it never speaks for the one whose name it bears."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from app.channels import email
from app.schemas import Assurance, Ingested
from app.services import conversations

OWNER = "owner@post.example"


def ingest(
    session: Session, *headers: str, message_id: str, results: str = "dkim=pass header.d=post.example"
) -> Ingested:
    head = [f"Authentication-Results: mx.us.example; {results}", f"Message-ID: <{message_id}>"]
    raw = "\r\n".join([*head, "To: support@us.example", *headers, "", "What did I order?"]).encode()
    return conversations.ingest(session, email.parse(raw, authserv_id="mx.us.example"))


@pytest.fixture
def owner(session: Session) -> Ingested:
    """What came of a mail that really is the owner's."""
    ingested = ingest(session, f"From: Owner <{OWNER}>", message_id="true@post.example")
    assert ingested.resolution.assurance is Assurance.VERIFIED
    return ingested


@pytest.mark.parametrize(
    "written",
    [
        f"{OWNER} <other@post.example>",
        f"{OWNER} via Portal <other@post.example>",
        f'"Owner" (x) <{OWNER}> <other@post.example>',
        f"{OWNER}\0 <other@post.example>",
    ],
)
def test_an_address_in_the_name_does_not_lead_to_its_owner(session, owner, written):
    forged = ingest(session, f"From: {written}", message_id="forged@post.example")

    assert forged.customer_id != owner.customer_id
    assert forged.resolution.assurance is Assurance.CLAIMED


@pytest.mark.parametrize(
    "written", [f"{OWNER}, other@post.example", f"Both: {OWNER}, other@post.example;", f"{OWNER} <>"]
)
def test_one_of_several_authors_is_only_claimed(session, owner, written):
    forged = ingest(session, f"From: {written}", message_id="forged@post.example")

    assert forged.resolution.assurance is Assurance.CLAIMED


@pytest.mark.parametrize(
    "results",
    [
        "dkim=pass header.i=post.example=y@evil.example header.s=s1",
        'dkim=pass header.i="y@post.example"@evil.example',
        "dkim=pass header.i=@post.example(y)header.b=y@evil.example",
        "dmarc=pass header.from=post.example=y@evil.example",
    ],
)
def test_what_the_signer_chose_does_not_vouch_for_another_domain(session, owner, results):
    forged = ingest(session, f"From: {OWNER}", message_id="forged@post.example", results=results)

    assert forged.resolution.assurance is Assurance.CLAIMED


def test_a_from_that_the_server_did_not_see_is_only_claimed(session, owner):
    hidden = f"X-A: 1\rFrom: {OWNER}\r\rX-B: 2"
    forged = ingest(session, hidden, "From: other@post.example", message_id="forged@post.example")

    assert forged.resolution.assurance is Assurance.CLAIMED


def test_two_who_write_through_our_group_are_two_and_nobody_is_proven(session):
    results, group = "dkim=pass header.d=us.example", "From: 'Bob' via Support <support@us.example>"
    writers = [
        ingest(session, group, f"Reply-To: {name}@y.example", message_id=f"{name}@y.example", results=results)
        for name in ("bob", "eve")
    ]

    assert len({writer.customer_id for writer in writers}) == 2
    assert {writer.resolution.assurance for writer in writers} == {Assurance.CLAIMED}
    assert conversations.reply_target(session, writers[1].conversation_id).value == "eve@y.example"


def test_whom_a_group_names_is_not_taken_for_the_one_who_proved_it(session, owner):
    group = "From: 'Owner' via Support <support@us.example>"
    results = "dkim=pass header.d=us.example"
    forged = ingest(
        session, group, f"X-Original-Sender: {OWNER}", message_id="forged@post.example", results=results
    )

    assert forged.resolution.assurance is Assurance.CLAIMED
