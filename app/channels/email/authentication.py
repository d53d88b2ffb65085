"""Whether our own mail server vouches for an email's From (RFC 8601)."""

from __future__ import annotations

import re

_STRING = r'"(?:[^"\\]|\\.)*"'
_WORD = rf'(?:{_STRING}|[^\s;"()\\])'
_NAME = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SERVER = re.compile(rf"\s*({_WORD}+)(?:\s+[0-9]+)?\s*(?:;\s*|\Z)", re.ASCII)
# An empty value does not take the next pair for its own.
_PAIR = re.compile(
    rf"({_NAME})\s*=(?:\s+(?!{_NAME}\s*=))?({_WORD}*)(?=[\s;]|\Z)\s*((?:;\s*)*)", re.ASCII | re.DOTALL
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_COMMENT = "\0"
_GLUED = re.compile(rf"[^\s;{_COMMENT}]{_COMMENT}+[^\s;{_COMMENT}]", re.ASCII)
_IN_QUOTES = re.compile(_STRING, re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")

_Section = list[tuple[str, str]]


def vouches(results: str, *, authserv_id: str | None, domain: str) -> bool:
    """Whether an Authentication-Results header, as it came, proves that ``domain`` sent the message.

    It must come from ``authserv_id``, since anybody can write such a header (RFC 8601, section 7.1), and say
    ``dkim=pass`` for the domain or a parent of it, or ``dmarc=pass`` for exactly the domain. Much of it the
    sender chooses (a DKIM signature's ``i=``, the envelope's mailbox), so it is read to its end: where any
    part is not as RFC 8601 has it, nothing is proven. ``authserv_id`` None: the header names no server.
    """
    server, sections = _read(results, is_named=authserv_id is not None)
    if authserv_id is not None and (server or "").lower() != authserv_id.strip().lower():
        return False
    return any(_proves(section, domain) for section in sections)


def without_comments(value: str) -> str:
    """A structured header's value without its (comments, which (nest)); RFC 5322, section 3.2.2."""
    text, quoted, _ = _replace_comments(value, " ")
    # In a quoted string that never ends nothing is sure.
    return "" if quoted else text


def _replace_comments(value: str, stand_in: str) -> tuple[str, bool, bool]:
    """The value with its comments replaced, and whether a quoted string or a comment never ends.

    A quote that a comment opens and does not close is a mailbox's that ends the comment too early: then the
    string never ends either.
    """
    kept: list[str] = []
    depth, quoted, opened, characters = 0, False, False, iter(value)
    for character in characters:
        pair = character + next(characters, "") if character == "\\" else character
        if not depth and character == '"':
            quoted = not quoted
        elif character == '"':
            opened = not opened
        if not quoted and character == "(":
            depth += 1
        if not depth:
            kept.append(pair)
        elif character == ")":
            depth -= 1
            kept.append(stand_in)
            if opened and not depth:
                return "", True, False
    return "".join(kept), quoted, depth > 0


def _read(results: str, *, is_named: bool) -> tuple[str | None, list[_Section]]:
    """The server's name and what it found, method by method; nothing where the header cannot be read."""
    text, is_quote_open, is_comment_open = _replace_comments(results, _COMMENT)
    # A comment within a word is not a server's: it cuts in two what the sender chose.
    if is_quote_open or is_comment_open or _CONTROL.search(results) or _GLUED.search(text):
        return None, []
    text = text.replace(_COMMENT, " ").rstrip()
    server = _SERVER.match(text) if is_named else None
    if is_named and server is None:
        return None, []
    sections: list[_Section] = [[]]
    position = server.end() if server else len(text) - len(text.lstrip())
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            return None, []
        name, value, end = pair.groups()
        sections[-1].append((name.lower(), _unquoted(value)))
        if end:
            sections.append([])
        position = pair.end()
    return _unquoted(server[1]) if server else None, sections


def _proves(section: _Section, domain: str) -> bool:
    if not section:
        return False
    (method, result), *properties = section
    values = dict(properties)
    if result.lower() != "pass" or len(values) != len(properties):
        return False
    if method.split("/")[0] == "dmarc":
        return _domain(values.get("header.from", "")) == domain
    if method.split("/")[0] == "dkim":
        return _aligned(_domain(values.get("header.d") or values.get("header.i", "")), domain)
    return False


def _domain(value: str) -> str | None:
    """The domain at the end of a value, whatever its mailbox holds; None if that is not one."""
    domain = value.rpartition("@")[2].lower().rstrip(".")
    return domain if _HOST.fullmatch(domain) else None


def _aligned(signer: str | None, domain: str) -> bool:
    """The signer is the domain or, short of a top-level one, a parent of it."""
    return signer is not None and (signer == domain or ("." in signer and domain.endswith(f".{signer}")))


def _unquoted(word: str) -> str:
    return _IN_QUOTES.sub(lambda string: _ESCAPED.sub(r"\1", string[0][1:-1]), word)
