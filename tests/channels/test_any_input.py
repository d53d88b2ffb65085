"""Whatever arrives, it becomes messages that can be stored, or InvalidPayload."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.channels import email, web_form, whatsapp
from app.errors import InvalidPayload
from app.schemas import InboundMessage

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=5)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
PROFILE = settings(max_examples=300, deadline=None)

HEADERS = ("From", "To", "Subject", "Message-ID", "References", "Date", "Content-Type", "Content-Disposition")
PIECES = (
    *(
        "ann@example.com",
        "<",
        ">",
        '"',
        "(",
        ")",
        ";",
        ",",
        "=",
        "@",
        "[",
        "\\",
        "\r\n ",
        "\0",
        "\xff",
        "\xc3\xa9",
    ),
    *("=?utf-8?q?a=0A?=", "=?utf-8?b?//8=?=", "=?x?q?a?=", "=?unicode_escape?q?=5Cud800?=", "=?utf-8?b?!"),
    *(
        "text/html",
        "multipart/mixed; boundary=B",
        "charset*=a%00''b",
        "filename*0*=x''%ff",
        "1 Jan 1 0:0 -9999",
    ),
)
BODIES = (
    "--B\r\n",
    "--B--\r\n",
    "\r\n",
    "<p>",
    "<![x",
    "<!--",
    "<a href='",
    "&#0;",
    "=4",
    "\xff",
    "\0",
    "Content-Type: ",
)


def assert_storable(messages: Iterable[InboundMessage]) -> None:
    for message in messages:
        texts = [message.account, message.provider_message_id, message.content, message.subject or ""]
        texts += [message.thread_id or "", message.profile.name or "", message.profile.company or ""]
        texts += [identifier.value for identifier in message.sender]
        texts += [file.filename or "" for file in message.attachments]
        texts += [str(value) for value in message.extra.values()]
        for text in texts:
            assert "\0" not in text
            text.encode()
        assert max(map(len, (message.account, message.provider_message_id, message.thread_id or ""))) <= 255
        assert message.sent_at is None or message.sent_at.tzinfo is not None


def mutated(valid: Any) -> st.SearchStrategy[Any]:
    """The valid payload with any of its parts replaced by anything."""
    if isinstance(valid, dict):
        intact = st.fixed_dictionaries({key: mutated(value) for key, value in valid.items()})
    elif isinstance(valid, list):
        intact = st.tuples(*map(mutated, valid)).map(list)
    else:
        intact = st.just(valid)
    return st.integers(0, 9).flatmap(lambda chance: ANY_JSON if chance == 0 else intact)


META = {
    "object": "whatsapp_business_account",
    "entry": [
        {
            "changes": [
                {
                    "field": "messages",
                    "value": {
                        "metadata": {"phone_number_id": "1"},
                        "contacts": [{"profile": {"name": "Ann"}, "wa_id": "15551234567"}],
                        "messages": [
                            {
                                "from": "1",
                                "id": "a",
                                "type": "text",
                                "text": {"body": "Hi"},
                                "timestamp": "1",
                            },
                            {
                                "from_user_id": "US.1",
                                "id": "b",
                                "type": "image",
                                "image": {"id": "7", "caption": "x"},
                            },
                            {
                                "from": "1",
                                "id": "c",
                                "type": "location",
                                "location": {"latitude": 1, "longitude": 2},
                            },
                        ],
                    },
                }
            ]
        }
    ],
}
TWILIO = {
    "MessageSid": "SM1",
    "From": "whatsapp:+1",
    "To": "whatsapp:+2",
    "Body": "Hi",
    "NumMedia": "1",
    "MediaUrl0": "u",
}
FORM = {
    "submission_id": "1",
    "email": "a@b",
    "phone": "+1",
    "message": "Hi",
    "submitted_at": "2026-11-16T09:20:05Z",
}


@PROFILE
@given(st.binary(max_size=200))
def test_any_bytes_as_a_mail(raw):
    with contextlib.suppress(InvalidPayload):
        assert_storable([email.parse(raw, account="desk", authserv_id="mx")])


@PROFILE
@given(
    st.lists(st.tuples(st.sampled_from(HEADERS), st.lists(st.sampled_from(PIECES), max_size=6)), max_size=6),
    st.lists(st.sampled_from(BODIES), max_size=8),
)
def test_any_headers_and_parts_as_a_mail(headers, body):
    head = "".join(
        f"{name}: {''.join(pieces)}\r\n" for name, pieces in [*headers, ("From", ["a@example.com"])]
    )
    raw = (head + "\r\n" + "".join(body)).encode("latin-1")

    with contextlib.suppress(InvalidPayload):
        assert_storable([email.parse(raw, account="desk", authserv_id="mx")])


@PROFILE
@given(ANY_JSON | mutated(META) | st.binary(max_size=50))
def test_anything_as_a_meta_webhook(payload):
    with contextlib.suppress(InvalidPayload):
        assert_storable(whatsapp.parse_meta(payload))


@PROFILE
@given(ANY_JSON | mutated(TWILIO))
def test_anything_as_a_twilio_form(form):
    with contextlib.suppress(InvalidPayload):
        assert_storable([whatsapp.parse_twilio(form)])


@PROFILE
@given(ANY_JSON | mutated(FORM))
def test_anything_as_a_web_form(form):
    with contextlib.suppress(InvalidPayload):
        assert_storable([web_form.parse(form)])
