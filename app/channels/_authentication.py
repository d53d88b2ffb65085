"""Whether our own mail server vouches for an email's From (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[;=]|[^\s;="]+')
_ESCAPED = re.compile(r"\\(.)")


def vouches(results: str, *, authserv_id: str, domain: str) -> bool:
    """Whether an Authentication-Results header proves that ``domain`` sent the message.

    It must come from ``authserv_id``, since anybody can write such a header (RFC 8601, section 7.1), and say
    ``dkim=pass`` for the domain or a parent of it, or ``dmarc=pass`` for exactly the domain.
    """
    server, *sections = _sections(results)
    if not server or _unquoted(server[0]).lower() != authserv_id.strip().lower():
        return False
    return any(_proves(section, domain) for section in sections)


def without_comments(value: str) -> str:
    """A structured header's value without its (comments, which (nest)); RFC 5322, section 3.2.2."""
    kept: list[str] = []
    depth, quoted, characters = 0, False, iter(value)
    for character in characters:
        pair = character + next(characters, "") if character == "\\" else character
        if not depth and character == '"':
            quoted = not quoted
        if not quoted and character == "(":
            depth += 1
        if not depth:
            kept.append(pair)
        elif character == ")":
            depth -= 1
            kept.append(" ")
    # In a quoted string that never ends nothing is sure.
    return "" if quoted else "".join(kept)


def _sections(results: str) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for word in _WORD.findall(without_comments(results)):
        if word == ";":
            sections.append([])
        else:
            sections[-1].append(word)
    return sections


def _proves(section: list[str], domain: str) -> bool:
    pairs = list(_pairs(section))
    if not pairs:
        return False
    (method, result), *properties = pairs
    values = dict(properties)
    if result.lower() != "pass" or len(values) != len(properties):
        return False
    if method.split("/")[0] == "dmarc":
        return _domain(values.get("header.from", "")) == domain
    if method.split("/")[0] == "dkim":
        return _aligned(_domain(values.get("header.d") or values.get("header.i", "")), domain)
    return False


def _pairs(section: list[str]) -> Iterator[tuple[str, str]]:
    position = 0
    while position + 2 < len(section):
        name, equals, value = section[position : position + 3]
        if equals == "=" and name != "=":
            yield name.lower(), _unquoted(value)
            position += 3
        else:
            position += 1


def _domain(value: str) -> str:
    return value.rpartition("@")[2].lower().rstrip(".")


def _aligned(signer: str, domain: str) -> bool:
    """The signer is the domain or, short of a top-level one, a parent of it."""
    return signer == domain or ("." in signer and domain.endswith(f".{signer}"))


def _unquoted(word: str) -> str:
    return _ESCAPED.sub(r"\1", word[1:-1]) if word.startswith('"') else word
