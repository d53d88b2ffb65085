from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.channels import web_form
from app.errors import InvalidPayload
from app.models import Channel, ContentType
from app.schemas import InboundMessage

FORM = {
    "submission_id": "wf_1",
    "name": "Ann Lee",
    "email": "Ann@Example.com",
    "phone": "+44 7700 900123",
    "company": "Lee & Co",
    "subject": "Invoice",
    "category": "billing",
    "message": "Where is it?",
    "submitted_at": "2026-11-16T09:20:05+01:00",
}


def parsed(**changes: Any) -> InboundMessage:
    return web_form.parse({key: value for key, value in (FORM | changes).items() if value is not None})


def test_a_submission_becomes_a_message():
    message = parsed()

    assert message.channel is Channel.WEB_FORM
    assert (message.account, message.provider_message_id) == ("web", "wf_1")
    assert [(s.type, s.value, s.verified) for s in message.sender] == [
        ("email", "Ann@Example.com", False),
        ("phone", "+44 7700 900123", False),
    ]
    assert (message.profile.name, message.profile.company) == ("Ann Lee", "Lee & Co")
    assert (message.content, message.content_type) == ("Where is it?", ContentType.TEXT)
    assert message.subject == "Invoice"
    assert message.sent_at == datetime(2026, 11, 16, 8, 20, 5, tzinfo=UTC)
    assert message.thread_id is None
    assert message.extra == {"category": "billing"}


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_optional_fields_may_be_blank(blank):
    optional = ("name", "phone", "company", "subject", "category", "submitted_at")
    message = parsed(**dict.fromkeys(optional, blank))

    assert [identifier.type for identifier in message.sender] == ["email"]
    assert (message.profile.name, message.profile.company, message.subject) == (None, None, None)
    assert (message.sent_at, message.extra) == (None, {})


def test_texts_are_made_storable_and_cut_to_their_columns():
    message = parsed(name="n" * 300, company="A\0\nB", subject="s" * 600, message=" a\0b\ud83d ")

    assert message.profile.name == "n" * 255
    assert message.profile.company == "A\ufffd B"
    assert message.subject == "s" * 500
    assert message.content == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    "typed",
    [
        "Ann Lee <ann@example.com>",
        "<ann@example.com>",
        "ann@example.com.",
        "mailto:ann@example.com",
        "ann@example.com,",
        "'ann@example.com'",
        "\u200bann@example.com",
    ],
)
def test_an_address_may_be_pasted_with_what_stands_around_it(typed):
    assert parsed(email=typed).sender[0].value == "ann@example.com"


@pytest.mark.parametrize("typed", ["yan @example.com", "yan@ example.com", "ya n@example.com"])
def test_an_address_with_a_space_in_it_is_not_guessed(typed):
    assert parsed(email=typed).sender[0].value == typed


def test_two_forms_are_two_accounts():
    assert web_form.parse(FORM, account="contact-page").account == "contact-page"
    with pytest.raises(InvalidPayload, match=r"^account: "):
        web_form.parse(FORM, account="")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"submission_id": None}, "submission_id"),
        ({"submission_id": " "}, "submission_id"),
        ({"submission_id": 17}, "submission_id"),
        ({"email": None}, "email"),
        ({"email": ""}, "email"),
        ({"email": "ann"}, "email"),
        ({"email": "ann@example.com, bob@example.com"}, "email"),
        ({"email": "@"}, "email"),
        ({"email": "ann@"}, "email"),
        ({"email": "ann\0@example.com"}, "email"),
        ({"email": "ann@example.com\nbob@example.com"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"email": ["ann@example.com"]}, "email"),
        ({"message": None}, "message"),
        ({"message": " \n "}, "message"),
        ({"message": ["Hi"]}, "message"),
        ({"message": "x" * 1_000_001}, "message"),
    ],
)
def test_a_malformed_submission_is_refused_by_its_field(changes, field):
    with pytest.raises(InvalidPayload) as refused:
        parsed(**changes)

    assert refused.value.field == field
    assert "ann" not in str(refused.value)


ODD = [
    *[("phone", odd) for odd in (447700900123, "1" * 256, "+44\x007700", "call me\nsoon", {"no": "1"})],
    *[("submitted_at", odd) for odd in ("yesterday", "2026-11-16T09:20:05", 1794834131, float("nan"))],
    ("submitted_at", "Mon, 16 Nov 2026 09:12:41 +0100"),
    ("submitted_at", "0001-01-01T00:00:00+23:00"),
    *[
        (name, odd)
        for name in ("name", "company", "subject", "category")
        for odd in (42, False, [], {"a": 1})
    ],
]


@pytest.mark.parametrize(("field", "odd"), ODD)
def test_an_optional_field_never_refuses_the_message(field, odd):
    message = parsed(**{field: odd})

    assert (message.content, message.ignored) == ("Where is it?", (field,))


@pytest.mark.parametrize(
    "phone",
    [
        "\u202a+44 7700 900123\u202c",
        "+44 7700\u200b 900123",
        "\ufeff+44 7700 900123 ",
        "\u2066+44 7700 900123\u2069",
    ],
)
def test_what_copying_leaves_in_a_number_is_no_part_of_it(phone):
    message = parsed(phone=phone)

    assert [identifier.value for identifier in message.sender] == ["Ann@Example.com", "+44 7700 900123"]
    assert message.ignored == ()


@pytest.mark.parametrize("blank", ["\u200b", "\u202a \u202c"])
def test_a_number_of_nothing_visible_is_none(blank):
    assert len(parsed(phone=blank).sender) == 1


@pytest.mark.parametrize("form", [None, [], "x", 5])
def test_what_is_no_form_is_refused(form):
    with pytest.raises(InvalidPayload, match=r"^form: "):
        web_form.parse(form)


def test_an_address_with_the_sign_of_another_width_is_one():
    assert web_form.parse(FORM | {"email": "eva\uff20z.example"}).sender[0].value == "eva@z.example"


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad", "\u2060", "\u202d", "\ufeff"])
def test_what_copying_leaves_in_an_address_is_no_part_of_it(unseen):
    assert parsed(email=f"Ann@{unseen}Example{unseen}.com").sender[0].value == "Ann@Example.com"


def test_a_letter_that_joins_others_in_a_domain_is_not_taken_out_of_it():
    with pytest.raises(InvalidPayload, match=r"^email: has a character"):
        parsed(email="ann@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example")
