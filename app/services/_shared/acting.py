"""How a service tells the database's triggers who acts."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ColumnElement, Text, and_, bindparam, func, literal

from ...models.ticket import ONCE
from .checks import checked_actor, checked_optional_text


class Mode(StrEnum):
    """How the triggers take a statement of a service."""

    PLAIN = ""
    FORCE = "force"
    """The state machine does not count; the record shows it."""
    REMARK = "remark"
    """The comment is kept although the status stays."""
    IMPORT = "import"
    """The record gets the times that the tickets tell, and says so."""


ACTING = and_(
    *(
        func.set_config(f"{ONCE}{name}", bindparam(name, type_=Text()), True).is_not(None)
        for name in ("actor", "comment", "mode")
    )
)
"""A condition, always true, that names the actor while the statement runs; ``acting`` has its parameters.

What the caller has named in ``crm.actor`` stays. A trigger at the statement's end clears these settings, and
the transaction's end does: neither the next statement nor the next user of a pooled connection inherits them.
"""


def acting_as(actor: str, comment: str | None = None) -> ColumnElement[bool]:
    """The same condition with its values in it, for a statement that is built for one call.

    Raises:
        InvalidValue: the actor or the comment is ill-formed.
    """
    return and_(
        *(
            func.set_config(f"crm.once_{name}", literal(value, Text()), True).is_not(None)
            for name, value in acting(actor, comment).items()
        )
    )


def acting(actor: str, comment: str | None = None, mode: Mode = Mode.PLAIN) -> dict[str, str]:
    """The parameters of ``ACTING``.

    Raises:
        InvalidValue: the actor or the comment is ill-formed.
    """
    return {
        "actor": checked_actor(actor),
        "comment": checked_optional_text("comment", comment) or "",
        "mode": mode.value,
    }
