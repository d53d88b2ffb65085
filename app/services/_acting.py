"""How a service tells the database's triggers who acts."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, func


def acting_as(actor: str, *, comment: str | None = None, force: bool = False) -> ColumnElement[bool]:
    """A condition, always true, that names the actor while the statement runs.

    The settings end with the transaction, and the trigger that writes the record clears them: neither the
    next statement nor the next user of a pooled connection can inherit them.
    """
    settings = {
        "crm.actor": actor,
        "crm.comment": comment or "",
        "crm.force": "on" if force else "",
        "crm.once": "on",
    }
    return and_(*(func.set_config(name, value, True).is_not(None) for name, value in settings.items()))
