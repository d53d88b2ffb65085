"""Texts whose paragraphs a mail program broke into lines (RFC 3676)."""

from __future__ import annotations

import pytest

from .mails import parsed

FLOWED = "text/plain; charset=utf-8; format=flowed"
DELETED = "text/plain; charset=utf-8; Format=Flowed; DelSp=Yes"


@pytest.mark.parametrize(
    ("kind", "body", "content"),
    [
        (FLOWED, "A long line \ngoes on \nand ends.\nNext", "A long line goes on and ends.\nNext"),
        (FLOWED, "Hello, \n\nnew paragraph", "Hello, \n\nnew paragraph"),
        (FLOWED, "> one \n> two\nmine \nstill mine", "> one two\nmine still mine"),
        (FLOWED, "> one \n>> deeper \n> back", "> one \n>> deeper \n> back"),
        (FLOWED, "Regards \n-- \nAnn", "Regards \n-- \nAnn"),
        (FLOWED, " From here on", "From here on"),
        (FLOWED, "Item\n  indented", "Item\n indented"),
        (DELETED, "https://shop.example/orders/4711- \n22", "https://shop.example/orders/4711-22"),
        (DELETED, "注文番号は \n4711です", "注文番号は4711です"),
        (DELETED, "two words  \nfollow", "two words follow"),
        ("text/plain; charset=utf-8", "A line \ngoes on", "A line \ngoes on"),
        ("text/plain; charset=utf-8; format=fixed", "A line \ngoes on", "A line \ngoes on"),
    ],
)
def test_a_paragraph_is_in_one_piece_again(kind, body, content):
    assert parsed(body, Content_Type=kind).content == content


def test_quotes_and_signature_of_a_flowed_text_are_told_from_what_is_new():
    body = (
        "It works \nnow.\n\nOn Monday, 5 January 2026 at 10:00, a very long name \n<a@us.example> wrote:\n"
        "> Please \n> restart.\n\n-- \nAnn"
    )

    assert parsed(body, Content_Type=FLOWED, Subject="Re: x").new_text == "It works now."
