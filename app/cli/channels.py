"""``crm channels``: how we talk on each channel."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from sqlalchemy.orm import Session

from ..database import transaction
from ..errors import InvalidValue, file_problem
from ..models import Channel, ChannelSettingChange, ChannelTone
from ..schemas import ChannelSettings, ChannelSettingsChanges
from ..services import channel_settings
from .desk import open_database
from .program import channels, example
from .show.json import JsonOption, print_json
from .show.tables import console, facts, new_table, safe

_LEAST_REASON = 16


@channels.command("show", epilog=example("channels show email"))
def _show(
    channel: Annotated[Channel | None, typer.Argument(help="Only this one, with who changed it.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show the channels' settings."""
    with open_database() as database:
        if channel is None:
            items = transaction(database.sessions, channel_settings.list_settings)
        else:
            settings, changes = transaction(database.sessions, _one, channel=channel)
    if as_json:
        print_json(**({"items": items} if channel is None else {"settings": settings, "changes": changes}))
    else:
        console().print(_all(items) if channel is None else _shown(settings, changes))


@channels.command(
    "edit", epilog=example('channels edit email --max-length 400 --actor human:7 --comment "shorter mails"')
)
def _edit(
    channel: Channel,
    *,
    actor: Annotated[str, typer.Option(help="Who changes it, for the record: human:7.")],
    comment: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether answers leave by it.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Of an answer: in words, on WhatsApp in characters.")
    ] = None,
    tone: Annotated[ChannelTone | None, typer.Option(help="For whoever writes the answers.")] = None,
    template: Annotated[
        str | None, typer.Option(help="A file with {{response_body}} in it: the text around each answer.")
    ] = None,
    no_template: Annotated[
        bool, typer.Option("--no-template", help="Send answers without a text around them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Change a channel's settings; what is not named stays."""
    changes: ChannelSettingsChanges = {}
    if enabled is not None:
        changes["is_enabled"] = enabled
    if max_length is not None:
        changes["max_response_length"] = max_length
    if tone is not None:
        changes["tone"] = tone
    if template is not None or no_template:
        changes["response_template"] = None if template is None else _text_of(Path(template))
    with open_database() as database:
        change = partial(channel_settings.change, actor=actor, comment=comment, **changes)
        transaction(database.sessions, change, channel)
        settings, record = transaction(database.sessions, _one, channel=channel)
    if as_json:
        print_json(settings=settings, changes=record)
    else:
        console().print(_shown(settings, record))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, ValueError) as error:
        raise InvalidValue("template", f"cannot be read: {file_problem(error)}") from None


def _all(items: list[ChannelSettings]) -> RenderableType:
    table = new_table("channel", "on", "answers of at most", "tone", "template")
    for settings in items:
        template = " ".join((settings.response_template or "").split())
        table.add_row(
            *map(safe, (settings.channel, _switch(settings), _length(settings), settings.tone, template))
        )
    return table


def _one(session: Session, *, channel: Channel) -> tuple[ChannelSettings, list[ChannelSettingChange]]:
    return channel_settings.get(session, channel), channel_settings.history(session, channel)


def _shown(settings: ChannelSettings, changes: list[ChannelSettingChange]) -> RenderableType:
    shown = facts(
        {
            "channel": settings.channel,
            "on": _switch(settings),
            "answers of at most": _length(settings),
            "tone": settings.tone,
            "credentials": settings.api_config_ref,
            "template": settings.response_template,
        }
    )
    return Group(shown, "", _record(changes)) if changes else shown


def _record(changes: list[ChannelSettingChange]) -> RenderableType:
    table = new_table("when", "who", "what", "why", heads=("", "by ", ""))
    for column in table.columns[:3]:
        column.no_wrap = True
    table.columns[3].min_width = _LEAST_REASON
    for change in changes:
        fields = ", ".join(sorted({*(change.old_values or {}), *(change.new_values or {})}))
        when = f"{change.changed_at:%Y-%m-%d %H:%M}"
        table.add_row(*map(safe, (when, change.changed_by, fields, change.comment or "")))
    return table


def _switch(settings: ChannelSettings) -> str:
    return "yes" if settings.is_enabled else "no"


def _length(settings: ChannelSettings) -> str:
    return f"{settings.max_response_length:,} {settings.length_unit}"
