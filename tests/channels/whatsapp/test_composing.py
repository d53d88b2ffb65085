"""The way out by WhatsApp: the parameters of the providers' calls, and what they would refuse."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from app.channels import whatsapp
from app.errors import InvalidValue, WindowClosed
from app.schemas import Attachment, Delivery

KEY = "0192f0c1-2d3e-7000-8000-00000000000a"
PICTURE = Attachment(media_type="image/png", url="https://files.example/a.png")
PAPER = Attachment(filename="a.csv", media_type="text/csv", url="https://files.example/a.csv")


def delivery(**facts) -> Delivery:
    to = facts.pop("to", "whatsapp:+5215512345678")
    return Delivery(
        **{
            "message_id": UUID(KEY),
            "conversation_id": UUID(int=1),
            "customer_id": UUID(int=2),
            "channel": "whatsapp",
            "account": "+14155238886",
            "to": {"type": "whatsapp", "value": to},
            "in_reply_to": "wamid.1",
            "content": "Open <b>Settings</b> & press\nReset.",
            "content_type": "text",
            "attempt": 1,
            "window_open": True,
            "written_at": None,
        }
        | facts
    )


def test_an_answer_by_twilio():
    assert whatsapp.compose_twilio(delivery(attachments=(PICTURE,))) == {
        "From": "whatsapp:+14155238886",
        "To": "whatsapp:+5215512345678",
        "Body": "Open <b>Settings</b> & press\nReset.",
        "MediaUrl": ["https://files.example/a.png"],
    }


def test_an_answer_by_meta():
    assert whatsapp.compose_meta(delivery(account="106540352242922", to="5215512345678")) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "5215512345678",
        "type": "text",
        "text": {"body": "Open <b>Settings</b> & press\nReset."},
        "context": {"message_id": "wamid.1"},
        "biz_opaque_callback_data": KEY,
    }


def test_a_number_is_written_as_the_provider_wants_it_whoever_delivered_it():
    assert whatsapp.compose_twilio(delivery(to="5215512345678", account="14155238886"))["To"] == (
        "whatsapp:+5215512345678"
    )
    assert whatsapp.compose_meta(delivery(to="whatsapp:+5215512345678"))["to"] == "5215512345678"


def test_somebody_without_a_number_and_a_group_are_written_to_by_their_ids():
    hidden = whatsapp.compose_meta(delivery(to="MX.13491208655302741918", in_reply_to=None))
    assert (hidden["recipient"], "to" in hidden, "context" in hidden) == (
        "MX.13491208655302741918",
        False,
        False,
    )
    group = whatsapp.compose_meta(delivery(group_id="Y2FwaV9ncm91cDo"))
    assert (group["recipient_type"], group["to"]) == ("group", "Y2FwaV9ncm91cDo")


def test_files_go_as_what_they_are_with_the_text_as_caption():
    picture = whatsapp.compose_meta(delivery(attachments=(PICTURE,)))
    assert (picture["type"], picture["image"]["link"]) == ("image", PICTURE.url)
    assert picture["image"]["caption"].startswith("Open")
    assert whatsapp.compose_meta(delivery(attachments=(PAPER,)))["document"]["filename"] == "a.csv"


def test_html_is_read_as_text():
    html = delivery(content="<p>Open <b>Settings</b></p><p>now</p>", content_type="html")
    assert whatsapp.compose_twilio(html)["Body"] == "Open Settings\n\nnow"
    assert whatsapp.compose_meta(html)["text"] == {"body": "Open Settings\n\nnow"}


def test_outside_the_window_only_a_template_goes_unless_the_caller_says_so():
    late = delivery(window_open=False)
    for compose in (whatsapp.compose_twilio, whatsapp.compose_meta):
        with pytest.raises(WindowClosed):
            compose(late)
        assert compose(late, outside_window=True)
    template = {"name": "answer_ready", "language": {"code": "en"}}
    by_meta = whatsapp.compose_meta(late, template=template)
    assert (by_meta["type"], by_meta["template"], "context" in by_meta) == ("template", template, False)
    by_twilio = whatsapp.compose_twilio(late, content_sid="HX1", content_variables={"1": "Zoë"})
    assert "Body" not in by_twilio
    assert (by_twilio["ContentSid"], json.loads(by_twilio["ContentVariables"])) == ("HX1", {"1": "Zoë"})


@pytest.mark.parametrize(
    "url",
    ["https://desk.example/status", "https://desk.example/status?tenant=7", "https://desk.example/#top"],
)
def test_our_id_comes_back_with_a_report_of_twilio_s(url):
    callback = whatsapp.compose_twilio(delivery(), status_callback=url)["StatusCallback"]
    bare = url.partition("#")[0]
    assert callback == f"{bare}{'&' if '?' in url else '?'}message_id={KEY}"
    form = {"MessageStatus": "sent", "MessageSid": "SM1", "From": "whatsapp:+14155238886"}
    assert whatsapp.parse_twilio_status(form, message_id=KEY).message_id == UUID(KEY)
    assert whatsapp.parse_twilio_status(form, message_id="7").message_id is None


@pytest.mark.parametrize(("data", "message_id"), [(KEY, UUID(KEY)), ("campaign 7", None), ({"a": 1}, None)])
def test_our_id_comes_back_with_a_status_of_meta_s(data, message_id):
    status = {"id": "wamid.2", "status": "delivered", "timestamp": "1", "biz_opaque_callback_data": data}
    value = {"metadata": {"phone_number_id": "106540352242922"}, "statuses": [status]}
    webhook = {"object": "whatsapp_business_account", "entry": [{"changes": [{"value": value}]}]}
    (report,) = whatsapp.parse_meta_statuses(webhook)
    assert report.message_id == message_id


def test_what_a_provider_says_is_kept_without_the_address():
    form = {
        "MessageStatus": "failed",
        "MessageSid": "SM1",
        "From": "whatsapp:+14155238886",
        "ErrorMessage": "whatsapp:+52 155 1234 5678 is no user; ask <ana@example.com>",
    }
    assert whatsapp.parse_twilio_status(form).reason == "(address) is no user; ask (address)"


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("channel", {"channel": "email"}),
        ("content", {"content": "a" * 4097}),
        ("content", {"content": "<br>", "content_type": "html"}),
        ("attachments", {"attachments": (PICTURE, PAPER)}),
        ("attachments", {"attachments": (Attachment(media_type="image/png", url="file:///etc/passwd"),)}),
        ("attachments", {"attachments": (Attachment(media_type="image/png"),)}),
    ],
)
def test_what_the_providers_would_refuse_is_refused_here(field, facts):
    for compose in (whatsapp.compose_twilio, whatsapp.compose_meta):
        with pytest.raises(InvalidValue) as refusal:
            compose(delivery(**facts))
        assert refusal.value.field == field


@pytest.mark.parametrize(
    ("field", "call"),
    [
        *(("delivery", lambda value=value: whatsapp.compose_twilio(value)) for value in (None, {}, "x")),
        *(("delivery", lambda value=value: whatsapp.compose_meta(value)) for value in (None, {}, "x")),
        *(
            ("status_callback", lambda url=url: whatsapp.compose_twilio(delivery(), status_callback=url))
            for url in (7, b"https://x.example", "desk.example/status", "https://[x/", "javascript:a()", "")
        ),
        *(
            ("content_sid", lambda sid=sid: whatsapp.compose_twilio(delivery(), content_sid=sid))
            for sid in (7, "", {})
        ),
        *(
            (
                "content_variables",
                lambda values=values: whatsapp.compose_twilio(
                    delivery(), content_sid="HX1", content_variables=values
                ),
            )
            for values in (7, "text", [1], {"1": 7}, {1: "x"}, {"1": b"x"})
        ),
        *(
            ("template", lambda value=value: whatsapp.compose_meta(delivery(), template=value))
            for value in (7, "answer_ready", [1])
        ),
    ],
)
def test_an_option_that_no_provider_would_take_is_refused(field, call):
    with pytest.raises(InvalidValue) as refusal:
        call()
    assert refusal.value.field == field


def test_each_provider_has_limits_of_its_own():
    assert whatsapp.compose_meta(delivery(content="a" * 1601))
    for call in (
        lambda: whatsapp.compose_twilio(delivery(content="a" * 1601)),
        lambda: whatsapp.compose_twilio(delivery(group_id="g")),
        lambda: whatsapp.compose_meta(delivery(content="a" * 1025, attachments=(PICTURE,))),
    ):
        with pytest.raises(InvalidValue):
            call()
