"""Whose mail is verified: the Authentication-Results of our own server, and nobody else's (RFC 8601)."""

from __future__ import annotations

import pytest

from app.channels import email
from app.schemas import Identifier


def sender_of(
    *results: str, sender: str = "ann@example.com", authserv_id: str | None = "mx.techcorp.io"
) -> Identifier:
    headers = [f"Authentication-Results: {result}" for result in results]
    raw = "\r\n".join([*headers, f"From: {sender}", "To: support@techcorp.io", "", "Hello"]).encode()
    return email.parse(raw, authserv_id=authserv_id).sender[0]


def is_verified(*results: str, **options: str | None) -> bool:
    return sender_of(*results, **options).verified


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
        "mx.techcorp.io; dkim = pass header.d = example.com;",
        "mx.techcorp.io; dkim=pass header.d=example.com(ours) header.b=a/b+c=;\r\n\tarc=none (no seal)",
        "mx.techcorp.io; spf=none (a, b: c@d) smtp.mailfrom= smtp.helo=[::1]; dkim=pass header.d=example.com",
        'mx.techcorp.io; dkim=pass reason="it is; good" header.i=ann=x@example.com header.s=s1',
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
        "mx.techcorp.io; dkim=pass header.i=example.com=y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com=y@evil.example",
        'mx.techcorp.io; dkim=pass header.i="y@example.com"@evil.example',
        'mx.techcorp.io; dkim=pass header.i=@example.com";y"@evil.example',
        "mx.techcorp.io; dkim=pass header.i=@example.com(@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com(y)@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com(y)header.b=y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com(y)(z)header.b=y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com\x1cheader.b=y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com\x0bheader.b=y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com\u00a0header.b=y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com\\ y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com =y@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com header.b= header.i=@evil.example",
        "mx.techcorp.io; dkim=pass header.i=@example.com; y@evil.example",
        "mx.techcorp.io; dmarc=pass header.from=example.com=y@evil.example",
        'mx.techcorp.io; dmarc=pass header.from="y@example.com"@evil.example',
        "mx.techcorp.io; spf=pass (of a); dkim=pass header.d=example.com; b@evil.example) smtp.mailfrom=x",
        "mx.techcorp.io; spf=pass smtp.mailfrom=a;dkim=pass header.d=example.com @evil.example",
        "mx.techcorp.io; dkim=pass header.d=@",
        "mx.techcorp.io; dkim=pass header.d=.example.com",
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


@pytest.mark.parametrize(
    "sender",
    [
        '"boss@example.com" <eve@example.org>',
        '"Ann (boss@example.com)" <eve@example.org>',
        "=?utf-8?q?boss=40example=2Ecom?= <eve@example.org>",
        "boss\uff20example.com <eve@example.org>",
        "eve@example.org (boss@example.com)",
        "\"'boss@example.com' via Portal\" <eve@example.org>",
    ],
)
def test_a_name_that_is_another_s_address_proves_nobody(sender):
    identifier = sender_of("mx; dkim=pass header.d=example.org", sender=sender, authserv_id="mx")

    assert (identifier.value, identifier.verified) == ("eve@example.org", False)


@pytest.mark.parametrize(
    "name", ["Eve", '"eve@example.org"', "\"'eve@example.org'\"", '"Eve at example.com"']
)
def test_a_name_that_is_no_other_address_leaves_a_proof_as_it_is(name):
    identifier = sender_of(
        "mx; dkim=pass header.d=example.org", sender=f"{name} <eve@example.org>", authserv_id="mx"
    )

    assert (identifier.value, identifier.verified) == ("eve@example.org", True)


POST = "mx.techcorp.io; dkim=pass header.d=post.example"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("owner@post.example <other@post.example>", "other@post.example"),
        ('"a" (b) <owner@post.example> <other@post.example>', "other@post.example"),
        ("<owner@post.example> <other@post.example>", "other@post.example"),
        ("owner@post.example via Portal <other@post.example>", "other@post.example"),
        ("owner@post.exa\r\n mple <other@post.example>", "other@post.example"),
        ("Owner <own\r\n er@post.example>", "owner@post.example"),
        ("owner@post.example;other@post.example", "owner@post.example"),
        ("owner@post.example, other@post.example", "owner@post.example"),
        ("<owner@post.example>, <other@post.example>", "owner@post.example"),
        ("Both: owner@post.example, other@post.example;", "owner@post.example"),
        ("One: owner@post.example;", "owner@post.example"),
        ("owner@post.example <>", "owner@post.example"),
        ("<owner@post.example> Owner", "owner@post.example"),
        ("Owner <owner@post.example", "owner@post.example"),
        ("Owner <<owner@post.example>>", "owner@post.example"),
        ("owner@post.example (<other@post.example>)", "owner@post.example"),
        ("owner@post.example (other@post.example)", "owner@post.example"),
        ("(<other@post.example>) owner@post.example", "owner@post.example"),
        ('"<other@post.example>" <owner@post.example>', "owner@post.example"),
        ("=?utf-8?q?=3Cother=40post.example=3E?= <owner@post.example>", "owner@post.example"),
        ("=?utf-8?q?owner=40post.example=2C?= other@post.example", "other@post.example"),
        ("Owner <=?utf-8?q?owner=40post.example?=>", "owner@post.example"),
        ("owner(x)@(y)post.example", "owner@post.example"),
        ("<@relay.example:owner@post.example>", "owner@post.example"),
        ("owner@post.example\0 <other@post.example>", "other@post.example"),
        ("Own\x1cer <owner@post.example>", "owner@post.example"),
    ],
)
def test_a_from_that_can_be_read_in_two_ways_proves_nobody(written, address):
    assert sender_of(POST, sender=written) == Identifier(type="email", value=address, verified=False)


@pytest.mark.parametrize(
    "written",
    [
        "owner@post.example",
        "<owner@post.example>",
        "Owner <owner@post.example>",
        "Dr. Owner\r\n <owner@post.example>",
        '"Owner, Inc. (x)" <owner@post.example>',
        '"owner@post.example" <owner@post.example>',
        "=?utf-8?q?=C3=85nn?= <owner@post.example>",
        "\u00c5nn <owner@post.example>",
        "owner@post.example (Owner)",
    ],
)
def test_a_from_that_can_be_read_in_one_way_only_is_proven(written):
    assert sender_of(POST, sender=written) == Identifier(
        type="email", value="owner@post.example", verified=True
    )


@pytest.mark.parametrize(
    "headers",
    [
        "X-A: 1\rFrom: owner@post.example\r\rX-B: 2\r\nFrom: other@post.example",
        "From: owner@post.example\r\rX-B: 2\r\nFrom: other@post.example",
        "From: owner@post.example\r\nnonsense\r\nFrom: other@post.example",
        "From: owner@post.example\r\nFrom : other@post.example",
        "From: owner@post.example\r\nFrom\t: other@post.example",
        "From: owner@post.example\r\nX-A: 1\r\nFrom here\r\nFrom: other@post.example",
    ],
)
def test_a_from_that_is_not_the_one_the_server_saw_proves_nobody(headers):
    raw = f"Authentication-Results: {POST}\r\n{headers}\r\nTo: support@techcorp.io\r\n\r\nHello".encode()

    sender = email.parse(raw, account="desk", authserv_id="mx.techcorp.io").sender

    assert sender == (Identifier(type="email", value="owner@post.example", verified=False),)


@pytest.mark.parametrize("first", ["From : other@post.example\r\n", " X-Folded: into nothing\r\n"])
def test_a_first_line_that_is_lost_here_proves_nobody(first):
    raw = f"{first}Authentication-Results: {POST}\r\nFrom: owner@post.example\r\n\r\nHello".encode()

    assert not email.parse(raw, account="desk", authserv_id="mx.techcorp.io").sender[0].verified


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_of_an_mbox_and_any_body_leave_a_proof_as_it_is(end):
    lines = [
        "From owner@post.example Thu Jan  1 00:00:00 1970",
        f"Authentication-Results: {POST}",
        "From: owner@post.example",
    ]
    raw = end.join([*lines, "", "One\rtwo", "From : three", ""]).encode()

    assert email.parse(raw, account="desk", authserv_id="mx.techcorp.io").sender[0].verified


MICROSOFT = (
    "spf=pass (sender IP is 192.0.2.7) smtp.mailfrom=example.com; dkim=pass (signature was verified)\r\n"
    " header.d=example.com;dmarc=pass action=none header.from=example.com;compauth=pass reason=100"
)


def test_results_without_a_server_s_name_count_only_where_the_caller_says_so():
    def parsed(**options: object) -> bool:
        raw = f"Authentication-Results: {MICROSOFT}\r\nFrom: ann@example.com\r\n\r\nHello".encode()
        return email.parse(raw, account="desk", **options).sender[0].verified

    assert parsed(unnamed_results=True)
    assert parsed(unnamed_results=True, authserv_id="mx.techcorp.io")
    assert not parsed()
    assert not parsed(authserv_id="mx.techcorp.io")
    assert not parsed(authserv_id="")


@pytest.mark.parametrize(
    "results",
    [
        "mx.techcorp.io; dkim=pass header.d=example.com",
        "; dkim=pass header.d=example.com",
        "spf=pass smtp.mailfrom=example.com; dkim=pass header.d=example.org",
        "spf=pass smtp.mailfrom=example.com; dkim=pass header.i=example.com=y@evil.example",
        "none",
        "",
    ],
)
def test_results_without_a_server_s_name_prove_no_more_than_others(results):
    raw = f"Authentication-Results: {results}\r\nFrom: ann@example.com\r\n\r\nHello".encode()

    assert not email.parse(raw, account="desk", unnamed_results=True).sender[0].verified


@pytest.mark.parametrize(
    "written", ["ann\uff20isp.example", "Ann \uff1cann\uff20isp.example\uff1e", "Ann <ann\uff20isp.example>"]
)
def test_signs_of_another_width_lose_no_mail_and_prove_nothing(written):
    results = "mx.techcorp.io; dkim=pass header.d=isp.example"
    sender = sender_of(results, sender=written)

    assert (sender.value, sender.verified) == ("ann@isp.example", False)


@pytest.mark.parametrize(
    "mailbox",
    [
        '"x) ; dkim=pass header.d=example.com ("@evil.example',
        '"x\\") ; dkim=pass header.d=example.com (\\"y"@evil.example',
    ],
)
def test_a_mailbox_that_ends_the_comment_it_stands_in_proves_nothing(mailbox):
    results = f"spf=pass (mx: domain of {mailbox} designates 192.0.2.1) smtp.mailfrom=x@evil.example"

    assert not is_verified(f"mx.techcorp.io; {results}")
    assert is_verified('mx.techcorp.io; dkim=pass (a "good" key) header.d=example.com')


@pytest.mark.parametrize(
    "written",
    [
        "Ann <ann@example . com>",
        "Ann <ann@example.com,>",
        "Ann <ann@example.com;>",
    ],
)
def test_a_blank_or_a_sign_too_many_loses_no_mail_and_proves_nothing(written):
    sender = sender_of("mx.techcorp.io; dkim=pass header.d=example.com", sender=written)

    assert (sender.value, sender.verified) == ("ann@example.com", False)


@pytest.mark.parametrize(
    "written",
    [
        "ann@example.com\u200b",
        "\u200bann@example.com",
        "Ann <ann@example.com\u200e>",
        "\u2060ann@example.com",
    ],
)
def test_what_is_invisible_beside_an_address_proves_nothing(written):
    sender = sender_of("mx.techcorp.io; dkim=pass header.d=example.com", sender=written)

    assert (sender.value, sender.verified) == ("ann@example.com", False)


@pytest.mark.parametrize(
    "written",
    ["Ann <SMTP:ann@example.com>", "Ann <smtp:ann@example.com>", "Ann <a href='mailto:ann@example.com'>"],
)
def test_a_protocol_before_an_address_is_no_part_of_it(written):
    sender = sender_of("mx.techcorp.io; dkim=pass header.d=example.com", sender=written)

    assert (sender.value, sender.verified) == ("ann@example.com", False)
