"""What WhatsApp shows and does not spell out, in words that an agent can read."""

from __future__ import annotations

from collections.abc import Iterable

REACTION_TAKEN_BACK = "The reaction was taken back."
REVOKED = "The message was deleted by its sender."


def lines(*parts: str | None) -> str:
    return "\n".join(part for part in parts if part)


def location(*parts: str | None) -> str:
    return f"Location: {listed(parts)}"


def listed(parts: Iterable[str | None]) -> str:
    return ", ".join(part for part in parts if part)


def without_text(kind: str | None) -> str:
    return f"The message has no text; its type is {kind or 'unknown'}"


def context(*, forwarded: bool, product: str | None, headline: str | None, source: str | None) -> str:
    """What stands around a message that the writer did not type."""
    return lines(
        "(forwarded)" if forwarded else None,
        f"(about the product {product})" if product else None,
        f"(came from: {listed((headline, source))})" if headline or source else None,
    )
