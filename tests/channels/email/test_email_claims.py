"""Mail that bears our own address, or a machine's, and names its writer elsewhere: a claim, never a proof."""

from __future__ import annotations

import pytest

from app.channels import email
from app.errors import InvalidPayload, OwnMessage
from app.schemas import Identifier, InboundMessage

OURS = "support@us.example"
RESULTS = "mx.us.example; dkim=pass header.d=us.example"


def parsed(*headers: str, account: str | None = None, **options: object) -> InboundMessage:
    head = [f"Authentication-Results: {RESULTS}", *headers, "Message-ID: <1@us.example>", f"To: {OURS}"]
    raw = "\r\n".join([*head, "", "Hello"]).encode()
    return email.parse(raw, account=account, authserv_id="mx.us.example", **options)


def claim(value: str) -> tuple[Identifier, ...]:
    return (Identifier(type="email", value=value, verified=False),)


GROUP = f"From: 'Bob' via Support <{OURS}>"


@pytest.mark.parametrize(
    ("headers", "writer"),
    [
        (["Reply-To: Bob <bob@y.example>"], "bob@y.example"),
        (["X-Original-Sender: bob@y.example"], "bob@y.example"),
        (["X-Original-Sender: bob@y.example", "Reply-To: group@us.example"], "bob@y.example"),
        ([f"Reply-To: {OURS}, Bob <bob@y.example>"], "bob@y.example"),
        ([f"X-Original-Sender: {OURS}", "Reply-To: bob@y.example"], "bob@y.example"),
        (["X-Original-Sender: nonsense", "Reply-To: Bob [Y] <bob@y.example>"], "bob@y.example"),
        (["X-Original-From: Bob <bob@y.example>"], "bob@y.example"),
        (["X-Original-From: Bob <bob@y.example>", "Reply-To: evil@z.example"], "bob@y.example"),
    ],
)
def test_who_writes_through_a_group_is_a_claim_and_never_the_group(headers, writer):
    message = parsed(GROUP, *headers)

    assert message.sender == claim(writer)
    assert message.extra["headers"]["From"] == GROUP.removeprefix("From: ")
    for header in headers:
        name, _, value = header.partition(": ")
        assert message.extra["headers"][name] == value


LIST = "From: Bob via List <list@us.example>"


@pytest.mark.parametrize(
    "headers",
    [
        ["List-Post: <mailto:list@us.example>", "Reply-To: Bob <bob@y.example>"],
        ["List-Id: A list <list.us.example>", "Reply-To: Bob <bob@y.example>, list@us.example"],
        ["Mailing-list: list List@us.example; contact list+owners@us.example", "Reply-To: bob@y.example"],
        ["X-Original-Sender: bob@y.example"],
        ["X-Original-From: Bob <bob@y.example>"],
    ],
)
def test_who_writes_through_any_list_is_a_claim_and_never_the_list(headers):
    assert parsed(LIST, *headers).sender == claim("bob@y.example")


@pytest.mark.parametrize("reply_to", [[], [f"Reply-To: {OURS}"], ["Reply-To: list@us.example"]])
def test_a_list_that_does_not_name_the_writer_is_proven_to_be_nobody(reply_to):
    message = parsed(LIST, "List-Post: <mailto:list@us.example>", *reply_to)

    assert message.sender == claim("list@us.example")


@pytest.mark.parametrize(
    "headers",
    [
        ["List-Post: <mailto:list@us.example>", "Reply-To: list@us.example"],
        ["List-Id: <list.us.example>", "Reply-To: eve@evil.example"],
        ["X-Original-Sender: ann@us.example", "Reply-To: eve@evil.example"],
        ["X-Original-Sender: victim@y.example"],
    ],
)
def test_a_member_whom_the_list_leaves_in_from_stays_the_sender(headers):
    assert parsed("From: Ann <ann@us.example>", *headers).sender[0].value == "ann@us.example"


def test_what_we_wrote_to_a_list_is_told_from_a_customer_s_message():
    with pytest.raises(OwnMessage):
        parsed(LIST, f"X-Original-Sender: {OURS}")


def test_the_writer_s_name_comes_along():
    assert parsed(GROUP, "Reply-To: Bob Lee <bob@y.example>").profile.name == "Bob Lee"


@pytest.mark.parametrize(
    "written",
    [OURS, OURS.upper(), f"Support <{OURS}>", "support+42@us.example", f"{OURS}, eve@evil.example"],
)
@pytest.mark.parametrize("reply_to", [[], ["Reply-To: support+42@us.example"], ["Reply-To: nonsense"]])
def test_what_we_wrote_ourselves_is_told_from_a_customer_s_message(written, reply_to):
    with pytest.raises(OwnMessage) as refused:
        parsed(f"From: {written}", *reply_to)

    assert refused.value.field == "From"
    assert "example" not in str(refused.value)


@pytest.mark.parametrize("options", [{"account": OURS}, {"own_accounts": ["Sales@US.example", OURS]}])
def test_our_accounts_are_those_that_the_caller_names(options):
    raw = f"From: {OURS}\r\nTo: ann@example.com\r\nCc: {OURS}\r\n\r\nOur answer".encode()

    with pytest.raises(OwnMessage):
        email.parse(raw, **options)


def test_somebody_at_our_domain_is_no_account():
    message = parsed("From: ann@us.example", own_accounts=[OURS])

    assert message.sender == (Identifier(type="email", value="ann@us.example", verified=True),)
    assert message.extra == {}


def test_reply_to_is_kept_beside_a_sender_whom_it_does_not_change():
    message = parsed("From: ann@us.example", "Reply-To: Ann <ann@home.example>")

    assert message.sender[0].value == "ann@us.example"
    assert message.reply_to == "ann@home.example"


@pytest.mark.parametrize("written", ["", "nonsense", "a\0b@c", "x" * 300 + "@y.example", "<>"])
def test_a_reply_to_that_cannot_be_used_changes_nothing(written):
    message = parsed("From: ann@us.example", f"Reply-To: {written}")

    assert (message.sender[0].value, message.reply_to) == ("ann@us.example", None)


@pytest.mark.parametrize(
    "written",
    ["forms@shop.example", "Shop <Forms@Shop.example>", "forms+7@shop.example", "no-reply@us.example"],
)
def test_who_fills_a_form_is_a_claim_and_never_the_mailer(written):
    message = parsed(f"From: {written}", "Reply-To: Eva <eva@z.example>", form_mailers=["forms@shop.example"])

    assert message.sender == claim("eva@z.example")
    assert message.profile.name == "Eva"
    assert message.extra["headers"] == {"From": written, "Reply-To": "Eva <eva@z.example>"}


@pytest.mark.parametrize("reply_to", [[], ["Reply-To: noreply@us.example"], [f"Reply-To: {OURS}"]])
def test_a_mailer_without_anybody_to_answer_stays_the_sender(reply_to):
    message = parsed("From: no-reply@shop.example", *reply_to)

    assert message.sender == claim("no-reply@shop.example")
    assert message.extra == {}


def test_only_listed_mailers_speak_for_others():
    message = parsed("From: forms@us.example", "Reply-To: eva@z.example", form_mailers=["mail@us.example"])

    assert message.sender == (Identifier(type="email", value="forms@us.example", verified=True),)


SENT_BY_PROGRAM = [
    "Auto-Submitted: auto-generated",
    "Precedence: bulk",
    "Return-Path: <>",
    "X-Autogenerated: 1",
]


@pytest.mark.parametrize("header", [*SENT_BY_PROGRAM, "Subject: Out of office: how do I set it?"])
@pytest.mark.parametrize("written", ["forms@shop.example", OURS])
def test_what_somebody_types_into_a_form_is_no_machine_s(written, header):
    headers = (f"From: {written}", "Reply-To: eva@z.example", header)

    message = parsed(*headers, form_mailers=["forms@shop.example", OURS])

    assert (message.sender, message.auto_reply, message.event) == (claim("eva@z.example"), False, None)


@pytest.mark.parametrize(
    "headers",
    [
        ["From: forms@shop.example", "Reply-To: eva@z.example", "Auto-Submitted: auto-replied"],
        ["From: forms@shop.example", "Auto-Submitted: auto-generated"],
        ["From: no-reply@shop.example", "Reply-To: eva@z.example", "Auto-Submitted: auto-generated"],
        ["From: help@us.example", "Reply-To: eva@z.example", "Auto-Submitted: auto-generated"],
        [f"From: {OURS}", "X-Original-Sender: bob@z.example", "Auto-Submitted: auto-generated"],
        [GROUP, "Reply-To: bob@z.example", "Auto-Submitted: auto-generated"],
        [f"From: {OURS}", "Reply-To: bob@z.example", "List-Id: <help.us.example>", "Precedence: bulk"],
    ],
    ids=[
        "an answer",
        "nobody typed",
        "not listed",
        "ours and not listed",
        "through our group",
        "via our group",
        "through our list",
    ],
)
def test_what_a_program_says_by_itself_stays_a_machine_s(headers):
    mailers = {"form_mailers": ["forms@shop.example", OURS], "own_accounts": ["help@us.example"]}

    assert parsed(*headers, **mailers).auto_reply


@pytest.mark.parametrize(
    "header", ["Reply-To: Ann <ann@us.example>", "Sender: ann@us.example", "Return-Path: <ann@us.example>"]
)
@pytest.mark.parametrize("written", ["Ann", "/O=US/OU=X/CN=RECIPIENTS/CN=ANN", "undisclosed-recipients:;"])
def test_a_person_whose_from_has_no_address_is_whom_another_header_names(written, header):
    message = parsed(f"From: {written}", header, account=OURS)

    assert message.sender == claim("ann@us.example")
    assert not message.auto_reply


def test_no_robot_stands_in_for_a_from_without_address():
    headers = ["From: Ann", "Reply-To: noreply@us.example", "Return-Path: <bounces+17=z@us.example>"]

    assert parsed(*headers, "Sender: ann@us.example").sender == claim("ann@us.example")
    with pytest.raises(InvalidPayload, match=r"^From: names no address$"):
        parsed(*headers)


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad", "\u2060"])
def test_a_from_with_what_nobody_sees_in_it_is_a_claim_of_what_is_seen(unseen):
    message = parsed(f"From: Ann <ann{unseen}@us.example>", f"Reply-To: bo{unseen}b@us.example")

    assert (message.sender, message.reply_to) == (claim("ann@us.example"), "bob@us.example")
