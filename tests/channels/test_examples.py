"""The example inbox is what the demo and the documentation promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from app.channels import parse_file
from app.models import Channel, ContentType
from app.normalization import identity_key, is_blocked, normalize_identifier
from app.schemas import InboundMessage

INBOX = Path(__file__).parents[2] / "examples" / "inbox"
PEOPLE = {"ana", "bruno", "camila", "daniel", "eva", "farah", "kenji", "mallory"}


@pytest.fixture(scope="module")
def inbox() -> dict[str, list[InboundMessage]]:
    files = sorted(INBOX.iterdir())
    return {file.stem: parse_file(file, authserv_id="mx.techcorp.io") for file in files}


@pytest.fixture(scope="module")
def by_person(inbox) -> dict[str, list[InboundMessage]]:
    found = defaultdict(list)
    for stem, messages in inbox.items():
        found[stem.split("-")[1]] += messages
    return found


def keys(message: InboundMessage) -> set[str]:
    return {identity_key(s.type, normalize_identifier(s.type, s.value)) for s in message.sender}


def test_there_are_28_numbered_files_of_8_people_on_3_channels(inbox, by_person):
    messages = [message for parsed in inbox.values() for message in parsed]

    assert [int(stem.split("-")[0]) for stem in inbox] == list(range(1, 29))
    assert set(by_person) == PEOPLE | {"noreply", "statuses"}
    assert Counter(message.channel for message in messages) == {
        Channel.EMAIL: 9,
        Channel.WHATSAPP: 12,
        Channel.WEB_FORM: 7,
    }
    assert {file.suffix for file in INBOX.iterdir()} == {".eml", ".form", ".json"}


def test_six_people_use_two_channels_with_identifiers_that_connect_them(by_person):
    two = {person for person in PEOPLE if len({message.channel for message in by_person[person]}) > 1}

    assert two == {"ana", "bruno", "camila", "eva", "kenji", "mallory"}
    for person in PEOPLE:
        connected = keys(by_person[person][0])
        for message in by_person[person][1:]:
            assert connected & keys(message), person
            connected |= keys(message)


def test_only_the_impostor_claims_somebody_elses_address(by_person):
    owners = defaultdict(set)
    for person in PEOPLE:
        for message in by_person[person]:
            for key in keys(message):
                owners[key].add(person)
    shared = {key: people for key, people in owners.items() if len(people) > 1}
    form, chat = by_person["mallory"]

    assert shared == {"email:bruno.keller@example.org": {"bruno", "mallory"}}
    assert (form.channel, form.profile.name) == (Channel.WEB_FORM, "Bruno Keller")
    assert not any(identifier.verified for identifier in form.sender)
    assert keys(chat) == {"tel:+12025550199"}


def test_one_message_is_delivered_twice(inbox):
    ids = Counter((m.channel, m.account, m.provider_message_id) for parsed in inbox.values() for m in parsed)

    assert [count for count in ids.values() if count > 1] == [2]
    assert inbox["04-bruno-whatsapp"] == inbox["12-bruno-whatsapp-redelivered"]


def test_an_album_gives_two_messages_and_statuses_none(inbox):
    assert len(inbox["13-daniel-album"]) == 2
    assert inbox["14-statuses"] == []


def test_mails_are_verified_unless_their_signature_failed(inbox):
    mails = {
        stem: parsed[0] for stem, parsed in inbox.items() if parsed and parsed[0].channel is Channel.EMAIL
    }

    assert [stem for stem, mail in mails.items() if not mail.sender[0].verified] == [
        "27-farah-email-wrong-charset"
    ]


def test_replies_belong_to_the_thread_of_the_first_mail(inbox):
    for first, replies in {
        "01-ana-email": ("10-ana-email-reply", "24-ana-email-screenshot"),
        "06-eva-email": ("16-eva-out-of-office",),
        "09-farah-email-html": ("21-farah-email-reply",),
    }.items():
        (root,) = inbox[first]
        assert {inbox[reply][0].thread_id for reply in replies} == {root.provider_message_id}


def test_machines_and_reactions_are_marked(inbox):
    machines = [stem for stem, parsed in inbox.items() for message in parsed if message.auto_reply]
    (noreply,) = inbox["20-noreply-email"]

    assert machines == ["16-eva-out-of-office", "20-noreply-email", "28-camila-reaction"]
    assert is_blocked("email", noreply.sender[0].value)


def test_emoji_encoded_words_html_and_files_are_there(inbox):
    (emoji,), (encoded,) = inbox["05-daniel-whatsapp"], inbox["06-eva-email"]
    (html,), (screenshot,) = inbox["09-farah-email-html"], inbox["24-ana-email-screenshot"]
    (charset,) = inbox["27-farah-email-wrong-charset"]

    assert "🚀" in emoji.content
    assert encoded.profile.name == "Eva Müller"
    assert encoded.subject == "Einmalanmeldung (SSO) für 60 Leute \N{EN DASH} geht das mit Microsoft Entra?"
    assert "refunds (https://support.techcorp.io/refunds)" in html.content
    assert [(file.filename, file.media_type, file.size) for file in html.attachments] == [
        ("INV-2107.pdf", "application/pdf", 726)
    ]
    assert screenshot.content_type is ContentType.ATTACHMENT_NOTICE
    assert screenshot.attachments[0].filename == "captura de ecrã.png"
    assert "café" in charset.content


def test_every_file_of_the_inbox_speaks_of_reserved_domains_and_numbers_only(by_person):
    for person in PEOPLE:
        for message in by_person[person]:
            for key in keys(message):
                kind, _, value = key.partition(":")
                domains = ("@example.com", "@example.net", "@example.org")
                numbers = ("+447700900", "+120255501", "+131255501", "+5531988888888")
                assert kind == "wa" or value.endswith(domains) or value.startswith(numbers), key
