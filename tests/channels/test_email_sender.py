"""Whose mail is verified: the Authentication-Results of our own server, and nobody else's (RFC 8601)."""

from __future__ import annotations

import pytest

from app.channels import email


def is_verified(
    *results: str, sender: str = "ann@example.com", authserv_id: str | None = "mx.techcorp.io"
) -> bool:
    headers = [f"Authentication-Results: {result}" for result in results]
    raw = "\r\n".join([*headers, f"From: {sender}", "To: support@techcorp.io", "", "Hello"]).encode()
    return email.parse(raw, authserv_id=authserv_id).sender[0].verified


@pytest.mark.parametrize(
    "results",
    [
        "mx.techcorp.io; dkim=pass header.d=example.com",
        "MX.TechCorp.io 1; DKIM=Pass Header.D=EXAMPLE.com",
        '"mx.techcorp.io"; dkim=pass header.d="example.com"',
        "mx.techcorp.io; dkim=pass header.i=@example.com",
        "mx.techcorp.io; dkim=pass header.i=@example.com header.d=example.com header.b=aGk=",
        "mx.techcorp.io;\r\n dkim=pass (2048-bit; (nested) key)\r\n header.d=example.com header.b=aGk",
        "mx.techcorp.io; spf=fail smtp.mailfrom=a@example.org; dkim=pass header.d=example.com",
        "mx.techcorp.io; dkim=fail header.d=example.com; dkim=pass header.d=example.com",
        "mx.techcorp.io; dkim/1=pass header.d=example.com",
        "mx.techcorp.io; dmarc=pass (p=none) header.from=example.com",
    ],
)
def test_our_server_vouches_for_the_domain_of_from(results):
    assert is_verified(results)


@pytest.mark.parametrize(
    "results",
    [
        "",
        "mx.techcorp.io; none",
        "mx.techcorp.io",
        "mx.example.net; dkim=pass header.d=example.com",
        "; dkim=pass header.d=example.com",
        "dkim=pass header.d=example.com",
        "mx.techcorp.io dkim=pass header.d=example.com",
        "mx.techcorp.io; dkim=fail header.d=example.com",
        "mx.techcorp.io; dkim=pass",
        "mx.techcorp.io; dkim=pass header.d=",
        "mx.techcorp.io; dkim=pass header.d=com",
        "mx.techcorp.io; dkim=pass header.d=example.org",
        "mx.techcorp.io; dkim=pass header.d=badexample.com",
        "mx.techcorp.io; dkim=pass header.d=mail.example.com",
        "mx.techcorp.io; dkim=pass header.d=example.org header.i=@example.com",
        "mx.techcorp.io; dkim=pass header.d=example.org header.d=example.com",
        "mx.techcorp.io; spf=pass smtp.mailfrom=ann@example.com",
        "mx.techcorp.io; dmarc=pass header.from=com",
        "mx.techcorp.io; dmarc=fail header.from=example.com",
        "mx.techcorp.io; dkim=none (dkim=pass header.d=example.com)",
        'mx.techcorp.io; spf=pass smtp.mailfrom="a; dkim=pass header.d=example.com; b"@example.org',
        'mx.techcorp.io; spf=pass smtp.mailfrom="a; dkim=pass header.d=example.com',
        'mx.techcorp.io; dkim=pass header.i="a; dkim=pass header.d=example.com"@x.org header.d=x.org',
        "(mx.techcorp.io; dkim=pass header.d=example.com",
        "mx.techcorp.io; reason=x dkim=pass header.d=example.com",
    ],
)
def test_anything_else_is_a_claim(results):
    assert not is_verified(results)


def test_a_parent_domain_may_sign():
    assert is_verified("mx.techcorp.io; dkim=pass header.d=example.com", sender="ann@sales.example.com")


def test_a_domain_that_only_ends_alike_may_not_sign():
    assert not is_verified("mx.techcorp.io; dkim=pass header.d=example.com", sender="ann@badexample.com")


def test_only_the_topmost_header_counts():
    ours, forged = "mx.techcorp.io; dkim=none", "mx.techcorp.io; dkim=pass header.d=example.com"

    assert not is_verified(ours, forged)
    assert not is_verified("mx.example.net; dkim=pass header.d=example.com", forged)


def test_without_the_name_of_our_server_nothing_is_proven():
    assert not is_verified("mx.techcorp.io; dkim=pass header.d=example.com", authserv_id=None)
    assert not is_verified("; dkim=pass header.d=example.com", authserv_id="")


@pytest.mark.parametrize(
    "sender",
    [
        "ann@example.com, bob@example.com",
        "ann@example.com\r\nFrom: bob@example.com",
        "\u212aate@example.com",
    ],
)
def test_a_from_that_the_server_may_have_read_otherwise_is_a_claim(sender):
    assert not is_verified("mx.techcorp.io; dkim=pass header.d=example.com", sender=sender)


def test_a_display_name_that_looks_like_an_address_proves_nothing():
    raw = (
        b"Authentication-Results: mx; dkim=pass header.d=example.org\r\n"
        b'From: "boss@example.com" <eve@example.org>\r\nTo: a@techcorp.io\r\n\r\nHello'
    )

    assert [(s.value, s.verified) for s in email.parse(raw, authserv_id="mx").sender] == [
        ("eve@example.org", True)
    ]
