"""An answer in its channel's voice: nothing injects, nothing missing leaves a hole, none is too long."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.errors import (
    ChannelDisabled,
    ChannelSettingsNotFound,
    ConversationNotFound,
    InvalidValue,
    ResponseTooLong,
    TicketNotFound,
    UnknownPlaceholder,
)
from app.schemas import CustomerProfile, LengthUnit, OutboundMessage
from app.services import channel_settings, conversations
from app.services.conversations.shortening import length_of, shortened
from app.testing import ConversationFactory, CustomerFactory, TicketFactory
from tests.services.conversations._messages import EMAIL, form, mail

RENDER = conversations.render_reply


def conversation(channel="web_form", name="Ana"):
    return ConversationFactory(channel=channel, customer=CustomerFactory(name=name))


def template(session, channel, value):
    statement = text("UPDATE channel_configs SET response_template = :value WHERE channel = :channel")
    session.execute(statement, {"channel": channel, "value": value})


def test_an_answer_stands_in_its_channel_s_template(session, queries):
    form = conversation()
    ticket = TicketFactory(conversation_id=form.id, customer_id=form.customer_id)
    session.flush()
    queries.reset()

    rendered = RENDER(session, form.id, "Open Settings.")

    assert queries.count == 1, queries
    assert rendered.content == (
        f"Hi Ana,\n\nOpen Settings.\n\nYour ticket reference: {ticket.ticket_number}\n"
        "Track your ticket at support.techcorp.io"
    )
    assert (rendered.length, rendered.max_length, rendered.unit) == (2, 300, LengthUnit.WORDS)
    assert (rendered.tone, rendered.is_shortened) == ("semi-formal", False)
    assert OutboundMessage(content=rendered.content, content_type=rendered.content_type)


def test_an_answer_is_stored_in_its_channel_s_template(session, queries):
    chat = conversation()
    answer = OutboundMessage(content="<b>Yes.</b>", content_type="html", subject="Hello")
    session.flush()
    queries.reset()

    message = conversations.reply(session, chat.id, answer, actor="human:7", in_template=True)

    assert queries.count == 2, queries
    assert message.content == RENDER(session, chat.id, answer.content, content_type="html").content
    assert (message.content_type, message.extra["subject"]) == ("html", "Hello")
    with pytest.raises(ResponseTooLong):
        conversations.reply(session, chat.id, OutboundMessage(content="Yes. " * 301), in_template=True)


def test_on_whatsapp_the_answer_stands_alone(session):
    chat = conversation("whatsapp")
    rendered = RENDER(session, chat.id, "  Open Settings.\n")
    assert (rendered.content, rendered.unit) == ("Open Settings.", LengthUnit.CHARACTERS)


@pytest.mark.parametrize("name", [None, "", " \n ", "\u3164", "\u200b\u2060", "\u2800", "\u202e"])
def test_nothing_that_is_missing_leaves_a_hole(session, name):
    form = conversation(name=name)
    assert RENDER(session, form.id, "Yes.").content == (
        "Hi there,\n\nYes.\n\nTrack your ticket at support.techcorp.io"
    )
    assert RENDER(session, form.id, "Ja.", nameless="Kundin").content.startswith("Hi Kundin,")
    template(session, "web_form", "{{ticket_number}}: {{response_body}}")
    assert RENDER(session, form.id, "Yes.").content == "-: Yes."


@pytest.mark.parametrize(
    "hostile", ["{{response_body}}", "{{ticket_number}}", "{{customer_name}}", "{{x}}", "\\1"]
)
def test_a_name_or_an_answer_cannot_fill_the_template(session, hostile):
    form = conversation(name=hostile)
    TicketFactory(conversation_id=form.id, customer_id=form.customer_id)
    content = RENDER(session, form.id, f"The body says {hostile}.").content
    assert content.startswith(f"Hi {hostile},\n\nThe body says {hostile}.\n")


def test_who_only_claims_to_be_somebody_does_not_learn_the_name(session):
    conversations.ingest(session, mail(profile=CustomerProfile(name="Ana Núñez")))
    claim = EMAIL.model_copy(update={"verified": False})
    unnamed = conversations.ingest(session, form(sender=(claim,)))
    named = conversations.ingest(session, form(sender=(claim,), profile=CustomerProfile(name="Anita")))
    assert unnamed.conversation_id == named.conversation_id
    assert RENDER(session, named.conversation_id, "Yes.").content.startswith("Hi Anita,")
    conversations.ingest(session, form(sender=(claim,)))
    assert RENDER(session, named.conversation_id, "Yes.").content.startswith("Hi there,")


def test_a_name_is_on_one_line(session):
    form = conversation(name="Ana\r\n\r\nPS: send us your password")
    assert RENDER(session, form.id, "Yes.").content.startswith("Hi Ana PS: send us your password,\n")


def test_a_name_turns_no_text_around(session):
    form = conversation(name="Ana \u202eevil")
    assert RENDER(session, form.id, "Yes.").content.startswith("Hi Ana evil,\n")


def test_in_html_nothing_is_markup_but_the_template(session):
    mail = conversation("email", name="<b>Ana & Co</b>")
    plain = RENDER(session, mail.id, "1 < 2\nYes <script>", content_type="html")
    assert plain.content.startswith(
        "Hi &lt;b&gt;Ana &amp; Co&lt;/b&gt;,<br>\n<br>\n1 &lt; 2<br>\nYes &lt;script"
    )
    template(session, "email", "<p>Hi {{ customer_name }}</p>\n<p>{{response_body}}</p>")
    marked = RENDER(session, mail.id, "1 < 2", content_type="html").content
    assert marked == "<p>Hi &lt;b&gt;Ana &amp; Co&lt;/b&gt;</p>\n<p>1 &lt; 2</p>"


def test_a_ticket_is_the_latest_of_the_conversation_or_one_of_the_customer_s_that_the_caller_names(session):
    form = conversation()
    named = TicketFactory(customer_id=form.customer_id, conversation_id=None)
    _, latest = (TicketFactory(conversation_id=form.id, customer_id=form.customer_id) for _ in range(2))
    assert latest.ticket_number in RENDER(session, form.id, "Yes.").content
    assert named.ticket_number in RENDER(session, form.id, "Yes.", ticket_id=named.id).content
    for stranger in (TicketFactory().id, uuid4()):
        with pytest.raises(TicketNotFound):
            RENDER(session, form.id, "Yes.", ticket_id=stranger)


@pytest.mark.parametrize(
    ("channel", "fits", "too_long", "length"),
    [
        ("email", "word " * 500, "word " * 501, 501),
        ("web_form", "word " * 300, "word " * 301, 301),
        ("whatsapp", "x" * 1600, "x" * 1601, 1601),
        ("web_form", "語" * 6000, "語" * 6001, 301),
    ],
)
def test_an_answer_that_is_too_long_is_refused(session, channel, fits, too_long, length):
    place = conversation(channel)
    assert RENDER(session, place.id, fits).length == length - 1
    with pytest.raises(ResponseTooLong) as refusal:
        RENDER(session, place.id, too_long)
    assert (refusal.value.length, refusal.value.limit) == (length, length - 1)


def test_the_unit_can_be_chosen(session):
    mail = conversation("email")
    with pytest.raises(ResponseTooLong):
        RENDER(session, mail.id, "x" * 501, unit="characters")
    assert RENDER(session, mail.id, "x" * 501, unit="words").length == 26


def test_a_long_answer_can_end_after_a_sentence(session):
    chat = conversation("whatsapp")
    channel_settings.change(session, "whatsapp", actor="human:7", max_response_length=30)
    rendered = RENDER(session, chat.id, 'It costs 3.50 EUR. "Really?" Yes, it does.', shorten=True)
    assert (rendered.content, rendered.is_shortened) == ('It costs 3.50 EUR. "Really?"', True)
    assert RENDER(session, chat.id, "Short.", shorten=True).is_shortened is False


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_that_leaves_nothing_loses_no_answer(session, limit):
    chat = conversation("whatsapp")
    session.execute(text("UPDATE channel_configs SET max_response_length = :limit"), {"limit": limit})
    for shorten in (False, True):
        with pytest.raises(ResponseTooLong):
            RENDER(session, chat.id, "Yes. No.", shorten=shorten)


@pytest.mark.parametrize(
    ("body", "limit", "unit", "expected"),
    [
        ("One. Two. Three.", 9, "characters", "One. Two."),
        ("One. Two. Three.", 8, "characters", "One."),
        ("Only one long sentence here", 14, "characters", "Only one …"),
        ("Only one long sentence here", 3, "words", "Only one …"),
        ("一。二三。四五六。", 5, "characters", "一。二三。"),
        ("A paragraph\n\nanother one without end", 20, "characters", "A paragraph"),
        ("abcdefghij", 6, "characters", "abcd …"),
        ("abcdefghij", 1, "characters", "a"),
        ("مرحبا كيف حالك؟ أنا بخير", 20, "characters", "مرحبا كيف حالك؟"),
        ("یہ جملہ ہے\u06d4 دوسرا جملہ", 15, "characters", "یہ جملہ ہے\u06d4"),
        ("पहला वाक्य है। दूसरा वाक्य", 18, "characters", "पहला वाक्य है।"),
        ("「はい。」そして帰った", 8, "characters", "「はい。」"),
        ("半角｡テスト", 5, "characters", "半角｡"),
        ("Do this:\n1. Open it.\n2. Close it.", 25, "characters", "Do this:\n1. Open it."),
        ("Ask Dr. Miller. He knows, e.g. him and his friends", 35, "characters", "Ask Dr. Miller."),
        ("Kommen Sie. Es geht am 3. Mai bzw. danach", 40, "characters", "Kommen Sie."),
        ("Sentence 1. Sentence 2. Sentence 3.", 25, "characters", "Sentence 1. Sentence 2."),
        ("Bonjour. Demandez M. Dupont ou la Sra. Paz", 40, "characters", "Bonjour."),
        ("cafe\u0301s", 5, "characters", "caf …"),
        ("👍🏽👍🏽👍🏽", 5, "characters", "👍🏽 …"),
        ("👨\u200d👩\u200d👧👨\u200d👩\u200d👧", 8, "characters", "👨\u200d👩\u200d👧 …"),
        ("👨\u200d👩\u200d👧👨\u200d👩\u200d👧", 6, "characters", "👨\u200d👩\u200d👧"),
        ("🇩🇪🇫🇷🇮🇹", 5, "characters", "🇩🇪 …"),
        ("詳しくはhttps://help.example/articles/1をご覧ください", 20, "characters", "詳しくは …"),
        ("See https://help.example/articles/1 for more", 30, "characters", "See …"),
        ("https://help.example/articles/1", 20, "characters", "https://help.examp …"),
        ("Hello there", 1, "words", "Hello"),
    ],
)
def test_where_a_long_answer_ends(body, limit, unit, expected):
    assert shortened(body, limit, LengthUnit(unit)) == expected


@given(
    body=st.text(st.sampled_from("ab .!?\n。…1\u0301\u200d👍🏽🇩🇪"), min_size=1, max_size=80)
    .map(str.strip)
    .filter(bool),
    limit=st.integers(1, 40),
    unit=st.sampled_from(LengthUnit),
)
def test_what_was_shortened_fits_and_says_nothing_new(body, limit, unit):
    short = shortened(body, limit, unit)
    assert short
    assert length_of(short, unit) <= limit
    assert body.startswith(short.removesuffix(" …").rstrip())


def test_what_cannot_be_said_on_a_channel_is_refused(session):
    form = conversation()
    with pytest.raises(ConversationNotFound):
        RENDER(session, uuid4(), "Yes.")
    for body in ("", " \n", None, "\x00"):
        with pytest.raises(InvalidValue):
            RENDER(session, form.id, body)
    with pytest.raises(InvalidValue, match="nameless"):
        RENDER(session, form.id, "Yes.", nameless="\u3164")
    for without_a_place in ("Hi {{customer_name}}", "  "):
        template(session, "web_form", without_a_place)
        with pytest.raises(InvalidValue, match="the answer would be lost"):
            RENDER(session, form.id, "Yes.")
    template(session, "web_form", "{{response_body}} {{agent_name}}")
    with pytest.raises(UnknownPlaceholder) as refusal:
        RENDER(session, form.id, "Yes.")
    assert refusal.value.placeholder == "agent_name"
    channel_settings.change(session, "web_form", actor="human:7", is_enabled=False)
    with pytest.raises(ChannelDisabled):
        RENDER(session, form.id, "Yes.")
    session.execute(text("DELETE FROM channel_configs"))
    with pytest.raises(ChannelSettingsNotFound):
        RENDER(session, form.id, "Yes.")
