"""Whether a webhook is its provider's: checked before anything in it is believed.

Both compare in constant time. A forged signature, whatever its form, is False; only a missing secret of ours
is an error, because anybody can sign with an empty one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qs, parse_qsl

from ..errors import InvalidValue

_PORTS = {"http": 80, "https": 443}


def twilio(
    url: str,
    form: Mapping[str, str | Iterable[str]] | Iterable[tuple[str, str]] | bytes,
    signature: str | None,
    token: str,
) -> bool:
    """Whether ``X-Twilio-Signature`` was made with our auth token, for this URL and form.

    ``url`` is the one that Twilio calls, with its query. Behind a proxy an application sees another one: give
    it the public host; that the proxy ended TLS, or put a port in, is allowed for here. ``form`` is all of
    the form's fields: pairs, a framework's multi-dict (Django, Flask, Starlette), or a mapping, of a key that
    comes more than once to all of its values; or the body as bytes, as it came. Of a webhook in JSON Twilio
    signs the hash in the URL (``bodySHA256``), so it must be bytes.

    Raises:
        InvalidValue: the token is empty, or the URL or the form is of another type.
    """
    key = _secret("token", token)
    if not isinstance(url, str):
        raise InvalidValue("url", "must be text")
    query = url.partition("#")[0].partition("?")[2]
    signed_hash = parse_qs(query).get("bodySHA256") if isinstance(form, bytes) else None
    if isinstance(form, bytes) and signed_hash:
        if not _is_equal(signed_hash[0].lower(), hashlib.sha256(form).hexdigest()):
            return False
        fields = ""
    else:
        fields = "".join(f"{name}{value}" for name, value in sorted(set(_pairs(form))))
    # All are compared, so that the time does not tell which one fits.
    return True in [_is_equal(signature, _hmac_sha1(key, called + fields)) for called in _as_called(url)]


def meta(body: bytes, signature: str | None, secret: str) -> bool:
    """Whether ``X-Hub-Signature-256`` was made with our app's secret, for the body's bytes as they came.

    Raises:
        InvalidValue: the secret is empty, or the body is not bytes: parsed and written again, it differs.
    """
    key = _secret("secret", secret)
    if not isinstance(body, bytes):
        raise InvalidValue("body", f"must be bytes as they came, not {type(body).__name__}")
    return _is_equal(signature, f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}")


def _secret(field: str, value: str) -> bytes:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue(field, "must not be empty")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(field, "holds half a character") from None


def _is_equal(signature: object, expected: str) -> bool:
    if not isinstance(signature, str):
        return False
    return hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), expected.encode())


def _hmac_sha1(key: bytes, text: str) -> str:
    # SHA-1 is Twilio's choice; as an HMAC it is not broken.
    return base64.b64encode(
        hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    ).decode()


def _pairs(
    form: Mapping[str, str | Iterable[str]] | Iterable[tuple[str, str]] | bytes,
) -> Iterator[tuple[str, str]]:
    if isinstance(form, bytes):
        yield from parse_qsl(form.decode("utf-8", "surrogateescape"), keep_blank_values=True)
        return
    all_of = getattr(form, "getlist", None)
    try:
        for name, value in form.items() if isinstance(form, Mapping) else form:
            values = all_of(name) if all_of is not None else [value] if isinstance(value, str) else value
            yield from ((name, "".join([one])) for one in values)
    except (TypeError, ValueError):
        raise InvalidValue("form", "must be pairs of texts, a mapping, or the body as bytes") from None


def _as_called(url: str) -> list[str]:
    """The URL as Twilio may have called it: over TLS, and with the port written out or left out."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    name, colon, port = host.rpartition(":")
    bare = name if colon and port.isdigit() else host
    urls = [url]
    for called in (scheme, "https"):
        port = f":{_PORTS[called.lower()]}" if called.lower() in _PORTS else ""
        urls += [f"{called}{separator}{at}{slash}{path}" for at in (host, bare, f"{bare}{port}")]
    return list(dict.fromkeys(urls))
