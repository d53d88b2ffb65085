"""Product names, error codes, addresses and numbers are found as they were written, and in parts."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.services import search
from app.testing import KnowledgeBaseEntryFactory, MessageFactory
from tests.services.search._finding import assert_finds

CODES = {
    "as written": ("Error TC-401 appears", "TC-401"),
    "lower case": ("Error TC-401 appears", "tc-401"),
    "a part": ("Error TC-401 appears", "401"),
    "without its sign": ("Error TC-401 appears", "TC401"),
    "another dash": ("Error TC-401 appears", "TC\u2011401"),
    "version": ("Since v2.3.1 it hangs", "v2.3.1"),
    "version without its letter": ("Since v2.3.1 it hangs", "2.3.1"),
    "underscore": ("ERR_CONN on start", "ERR_CONN"),
    "part of a name": ("ERR_CONN on start", "conn"),
    "address": ("write to ana.bell@post.example", "ana.bell@post.example"),
    "domain": ("write to ana.bell@post.example", "post.example"),
    "local part": ("write to ana.bell@post.example", "bell"),
    "url": ("see https://docs.shop.example/api/v2?x=1", "docs.shop.example"),
    "number": ("it cost 1,234.56 dollars", "1,234.56"),
    "number without its comma": ("it cost 1,234.56 dollars", "1234.56"),
    "part of a number": ("invoice 2024/4711", "4711"),
    "behind a hash": ("order #4711", "4711"),
    "telephone": ("call +49 (0)30 901-820 now", "+4930901820"),
    "telephone in groups": ("call +4930901820 now", "+49 30 901 820"),
    "number in groups": ("order 4500012345", "4500 012345"),
    "negative": ("at -5 degrees", "5"),
    "product": ("TaskFlow-Pro crashes", "taskflow"),
    "product in one word": ("Use the Wi-Fi", "wifi"),
    "language": ("written in C++ and C#", "c++"),
    "part behind a letter": ("Error E1002 appears", "1002"),
    "letter apart": ("Error E 1002 appears", "E1002"),
    "letter with a sign": ("Error E-1002 appears", "e1002"),
    "letter joined": ("HTTP500 happens", "http 500"),
    "amount": ("a disk of 100GB", "100 gb"),
    "amount joined": ("a disk of 100 GB", "100gb"),
    "product and number": ("the iPhone15 case", "iphone 15"),
    "digit apart": ("the 2FA code", "2 fa"),
    "hexadecimal": ("stopped with 0x80070005", "80070005"),
    "name in one word": ("needs Node.js", "nodejs"),
    "sign in front": ("for .NET", ".net"),
    "behind a name": ("SKU:ABC-123", "ABC123"),
    "in a list": ("TC-401,TC-402", "tc402"),
    "hardware address": ("AA:BB:CC:DD:EE:FF", "aabbccddeeff"),
    "address with a plus": ("ana+shop@post.example", "ana+shop@post.example"),
    "in angle brackets": ("Ana <ana.bell@post.example> wrote", "ana.bell@post.example"),
    "path": ("C:\\logs\\app.log", "app.log"),
    "very long": ("see " + "a-" * 140 + "z", "z"),
    "thousands": ("for 10 000 people", "10,000"),
    "bank account in groups": ("IBAN DE89 3704 0044 0532 0130 00.", "DE89370400440532013000"),
    "bank account in one": ("IBAN DE89370400440532013000.", "DE89 3704 0044 0532 0130 00"),
    "british account in groups": ("GB29 NWBK 6016 1331 9268 19", "GB29NWBK60161331926819"),
    "french account in one": ("FR1420041010050500013M02606", "FR14 2004 1010 0505 0001 3M02 606"),
    "tax number": ("VAT GB 123 4567 89", "GB123456789"),
    "local telephone": ("call +49 171 2345678", "01712345678"),
    "telephone from abroad": ("call 0171/2345678", "0049 171 2345678"),
    "telephone in one": ("call +4930901820", "030 901820"),
    "three digits of a country": ("call +351 912 345 678", "912345678"),
    "arabic digits": ("\u0637\u0644\u0628 \u0664\u0667\u0661\u0661", "4711"),
    "hindi digits": ("\u090f\u0915 \u0967\u0968\u0969\u096a", "1234"),
    "persian digits": ("order 4711", "\u06f4\u06f7\u06f1\u06f1"),
    "american telephone": ("call (555) 010-9999", "+15550109999"),
    "american prefix": ("call 1-800-555-0199", "8005550199"),
}
NO_CODES = {
    "of a hash": ("commit 67e44a0b11f2c9d87e", "44"),
    "of an identifier": ("id 550e8400-e29b-41d4-a716-446655440000", "716"),
    "another telephone": ("call +49 171 2345678", "01712345679"),
    "another account": ("IBAN DE89 3704 0044 0532 0130 00", "DE89370400440532013001"),
}


@pytest.fixture(autouse=True)
def empty(session):
    session.execute(text("DELETE FROM knowledge_base"))


@pytest.mark.parametrize(("written", "question"), CODES.values(), ids=CODES)
def test_codes_names_and_numbers_are_found_as_written_and_in_parts(session, written, question):
    assert_finds(session, written, question)


@pytest.mark.parametrize(("written", "question"), NO_CODES.values(), ids=NO_CODES)
def test_what_is_no_part_finds_nothing(session, written, question):
    MessageFactory(content=written)
    assert search.search_messages(session, question, mode="text") == []


def test_a_code_as_it_was_written_is_before_its_parts(session):
    KnowledgeBaseEntryFactory(title="-", content="401 steps for the TC team, in a text of as many words")
    exact = KnowledgeBaseEntryFactory(title="-", content="The error TC-401, in a text of about as many words")
    assert search.search_knowledge(session, "TC-401", mode="text")[0].id == exact.id
