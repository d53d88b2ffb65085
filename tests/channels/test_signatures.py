"""Signatures of webhooks; those in the tests were made with OpenSSL's command line, not with this code."""

from __future__ import annotations

import hmac
from urllib.parse import urlencode

import pytest

from app.channels import signatures
from app.errors import InvalidValue

TOKEN = "1c892n40nd03kdnc0112slzkl3091j20"
HOOK = "https://desk.example/hooks/twilio?tenant=7"
FORM = {"From": "whatsapp:+4915112345678", "Body": "Hallo, Größe XL?", "MessageSid": "SM1"}
SIGNED = "UWSYAM2CBGoj9e6N0G+oX/P5Hfw="
SIGNED_WITH_PORT = "O2ADDMJh1n59v3279QB6zG6Lock="
SIGNED_ITEMS = "r64Cze/BdDdbX/JWT79t5Wu2pro="

JSON_HOOK = (
    "https://example.com/myapp?bodySHA256=5ccde7145dfb8f56479710896586cb9d5911809d83afbe34627818790db0aec9"
)
JSON_BODY = b'{"CallSid":"CA1234567890ABCDE","Caller":"+12349013030"}'
JSON_SIGNED = "vbRmqAZgwIrlIP3UCCzd9LROL9U="

SECRET = "app-secret-1"
BODY = rb'{"object":"whatsapp_business_account","entry":[{"id":"0","text":"Gr\u00fc\u00dfe \\/"}]}'
BODY_SIGNED = "sha256=d1bb8fc6a3097a26c7f8a8fe1bfb514626c8a116c88c67b72dbd43d88834215c"


class MultiDict(dict):
    """As web frameworks have it: ``items`` tells one value of each key."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs

    def getlist(self, name):
        return [value for key, value in self.pairs if key == name]


def test_twilio_s_own_example():
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    assert signatures.twilio(url, form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "12345")


@pytest.mark.parametrize("signature", [SIGNED, SIGNED_WITH_PORT])
@pytest.mark.parametrize(
    "url",
    [
        HOOK,
        "https://desk.example:443/hooks/twilio?tenant=7",
        "http://desk.example/hooks/twilio?tenant=7",
        "http://desk.example:8000/hooks/twilio?tenant=7",
    ],
)
def test_a_proxy_may_have_ended_tls_or_put_a_port_in(url, signature):
    assert signatures.twilio(url, FORM, signature, TOKEN)


@pytest.mark.parametrize(
    "form",
    [
        {"Item": ["b", "a"], "Z": "1"},
        [("Z", "1"), ("Item", "b"), ("Item", "a"), ("Item", "b")],
        MultiDict([("Item", "a"), ("Item", "b"), ("Z", "1")]),
    ],
)
def test_a_key_that_comes_more_than_once_counts_with_all_its_values(form):
    url = "https://desk.example/hooks/twilio"
    assert signatures.twilio(url, form, SIGNED_ITEMS, TOKEN)
    assert not signatures.twilio(url, {"Item": "b", "Z": "1"}, SIGNED_ITEMS, TOKEN)


def test_a_form_may_be_given_as_the_body_that_came():
    url = "https://desk.example/hooks/twilio"
    assert signatures.twilio(HOOK, urlencode(FORM).encode(), SIGNED, TOKEN)
    assert signatures.twilio(url, b"Item=b&Item=a&Z=1", SIGNED_ITEMS, TOKEN)
    assert not signatures.twilio(url, b"Item=b&Item=a&Z=1&Empty=", SIGNED_ITEMS, TOKEN)
    assert not signatures.twilio(url, b"\xff&;=", SIGNED_ITEMS, TOKEN)


@pytest.mark.parametrize(
    "form", [None, 5, "From=x", [("From",)], {"From": 5}, {"From": None}, {"From": [b"x"]}]
)
def test_a_form_of_another_type_is_the_caller_s_mistake(form):
    with pytest.raises(InvalidValue, match=r"^form: "):
        signatures.twilio(HOOK, form, SIGNED, TOKEN)
    with pytest.raises(InvalidValue, match=r"^url: "):
        signatures.twilio(None, FORM, SIGNED, TOKEN)


def test_a_webhook_in_json_is_signed_by_the_hash_of_its_body():
    assert signatures.twilio(JSON_HOOK, JSON_BODY, JSON_SIGNED, TOKEN)
    assert not signatures.twilio(JSON_HOOK, JSON_BODY + b" ", JSON_SIGNED, TOKEN)
    assert not signatures.twilio(HOOK, JSON_BODY, SIGNED, TOKEN)
    # The hash alone can be anybody's.
    assert not signatures.twilio(JSON_HOOK, JSON_BODY, SIGNED, TOKEN)


@pytest.mark.parametrize(
    ("url", "form", "signature", "token"),
    [
        (HOOK.replace("7", "8"), FORM, SIGNED, TOKEN),
        (HOOK.replace("desk", "evil"), FORM, SIGNED, TOKEN),
        (HOOK, FORM | {"Body": "Hallo"}, SIGNED, TOKEN),
        (HOOK, FORM | {"Extra": "1"}, SIGNED, TOKEN),
        (HOOK, {}, SIGNED, TOKEN),
        (HOOK, FORM, SIGNED, TOKEN[:-1]),
        (HOOK, FORM, SIGNED.lower(), TOKEN),
        (HOOK, FORM, "", TOKEN),
        (HOOK, FORM, "é\udc80", TOKEN),
        (HOOK, FORM, None, TOKEN),
        (HOOK, FORM, SIGNED.encode(), TOKEN),
        ("", FORM, SIGNED, TOKEN),
        ("https://[desk.example/status", b"", SIGNED, TOKEN),
    ],
)
def test_a_webhook_that_is_not_twilio_s_is_refused(url, form, signature, token):
    assert signatures.twilio(url, form, signature, token) is False


def test_a_webhook_of_meta_s_is_told_by_its_bytes():
    assert signatures.meta(BODY, BODY_SIGNED, SECRET) is True


@pytest.mark.parametrize(
    ("body", "signature", "secret"),
    [
        (BODY + b"\n", BODY_SIGNED, SECRET),
        (BODY, BODY_SIGNED, "app-secret-2"),
        (BODY, BODY_SIGNED.removeprefix("sha256="), SECRET),
        (BODY, BODY_SIGNED.replace("sha256", "sha1"), SECRET),
        (BODY, BODY_SIGNED[:-1], SECRET),
        (BODY, "sha256=", SECRET),
        (BODY, "", SECRET),
        (BODY, "sha256=ü", SECRET),
        (BODY, None, SECRET),
    ],
)
def test_a_webhook_that_is_not_meta_s_is_refused(body, signature, secret):
    assert signatures.meta(body, signature, secret) is False


@pytest.mark.parametrize("secret", ["", " ", None, "half a\ud800 pair"])
def test_without_a_secret_anybody_could_sign(secret):
    empty = "sha256=" + hmac.new(b"", BODY, "sha256").hexdigest()
    with pytest.raises(InvalidValue, match=r"^secret: "):
        signatures.meta(BODY, empty, secret)
    with pytest.raises(InvalidValue, match=r"^token: "):
        signatures.twilio(HOOK, FORM, SIGNED, secret)


def test_a_body_that_was_parsed_already_cannot_be_checked():
    with pytest.raises(InvalidValue, match=r"^body: "):
        signatures.meta(BODY.decode(), BODY_SIGNED, SECRET)


def test_signatures_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        signatures.hmac, "compare_digest", lambda one, other: compared.append(one) or one == other
    )
    signatures.meta(BODY, BODY_SIGNED, SECRET)
    signatures.twilio(HOOK, FORM, SIGNED, TOKEN)
    assert len(compared) > 2
