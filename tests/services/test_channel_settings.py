"""Channels' settings: what they are, who changed them, and what they cannot be."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.errors import ChannelSettingsNotFound, InvalidValue, UnknownPlaceholder
from app.models import Channel, ChannelConfig, ChannelSettingChange
from app.schemas import LengthUnit
from app.services import channel_settings

ACTOR = {"actor": "human:7"}


def test_the_first_settings_are_counted_in_words_and_on_whatsapp_in_characters(session):
    settings = {
        one.channel: (one.max_response_length, one.length_unit)
        for one in channel_settings.list_settings(session)
    }
    assert settings == {
        "email": (500, LengthUnit.WORDS),
        "web_form": (300, LengthUnit.WORDS),
        "whatsapp": (1600, LengthUnit.CHARACTERS),
    }


def test_a_change_is_in_the_record_with_what_was_there_before(session, queries):
    queries.reset()
    changed = channel_settings.change(
        session, "whatsapp", max_response_length=900, is_enabled=False, comment="a strike", **ACTOR
    )
    assert queries.count == 1, queries
    assert (changed.max_response_length, changed.is_enabled, changed.tone) == (900, False, "conversational")
    assert channel_settings.get(session, Channel.WHATSAPP) == changed

    (entry,) = channel_settings.history(session, "whatsapp")
    assert entry.old_values == {"max_response_length": 1600, "is_enabled": True}
    assert entry.new_values == {"max_response_length": 900, "is_enabled": False}
    assert (entry.changed_by, entry.comment, bool(entry.db_user)) == ("human:7", "a strike", True)
    assert channel_settings.history(session, "email") == []


def test_what_stays_as_it_is_leaves_no_record(session):
    before = channel_settings.get(session, "email")
    assert (
        channel_settings.change(session, "email", tone="formal", max_response_length=500, **ACTOR) == before
    )
    assert channel_settings.change(session, "email", **ACTOR) == before
    assert channel_settings.history(session, "email") == []


def test_nothing_is_a_value_too(session):
    assert (
        channel_settings.change(session, "email", response_template=None, **ACTOR).response_template is None
    )
    extra = {"footer": "x"}
    assert channel_settings.change(session, "email", extra=extra, api_config_ref="X_", **ACTOR).extra == extra
    assert channel_settings.change(session, "email", api_config_ref=None, **ACTOR).api_config_ref is None


def test_the_session_s_object_sees_the_change(session):
    config = session.scalars(select(ChannelConfig).where(ChannelConfig.channel == "email")).one()
    channel_settings.change(session, "email", max_response_length=5, **ACTOR)
    assert config.max_response_length == 5


def test_whoever_writes_with_plain_sql_is_in_the_record_by_his_own_name(session):
    channel_settings.change(session, "email", max_response_length=5, **ACTOR)
    session.execute(text("UPDATE channel_configs SET tone = 'conversational' WHERE channel = 'email'"))
    session.execute(text("DELETE FROM channel_configs WHERE channel = 'email'"))
    gone, plain, ours = channel_settings.history(session, "email")
    assert (ours.changed_by, plain.changed_by[:3], gone.new_values) == ("human:7", "db:", None)
    assert gone.old_values["max_response_length"] == 5
    with pytest.raises(ChannelSettingsNotFound):
        channel_settings.get(session, "email")
    with pytest.raises(ChannelSettingsNotFound):
        channel_settings.change(session, "email", tone="formal", **ACTOR)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE channel_setting_changes SET changed_by = 'human:8'",
        "DELETE FROM channel_setting_changes",
        "TRUNCATE channel_setting_changes",
        "INSERT INTO channel_setting_changes (channel, changed_by, db_user) VALUES ('email', 'human:8', 'x')",
    ],
)
def test_nobody_alters_the_record(session, statement):
    channel_settings.change(session, "email", max_response_length=5, **ACTOR)
    with pytest.raises(DBAPIError, match="written by triggers only"), session.begin_nested():
        session.execute(text(statement))
    assert session.scalars(select(ChannelSettingChange.changed_by)).all() == ["human:7"]


@pytest.mark.parametrize(
    ("error", "field", "changes"),
    [
        (InvalidValue, "max_response_length", {"max_response_length": 0}),
        (InvalidValue, "max_response_length", {"max_response_length": "5"}),
        (InvalidValue, "max_response_length", {"max_response_length": None}),
        (InvalidValue, "is_enabled", {"is_enabled": "false"}),
        (InvalidValue, "tone", {"tone": "rude"}),
        (InvalidValue, "response_template", {"response_template": "Hello"}),
        (InvalidValue, "response_template", {"response_template": "  "}),
        (InvalidValue, "response_template", {"response_template": "{{response_body}}\x00"}),
        (UnknownPlaceholder, "response_template", {"response_template": "{{name}} {{response_body}}"}),
        (UnknownPlaceholder, "response_template", {"response_template": "{{response_body}} {{ }}"}),
        (UnknownPlaceholder, "response_template", {"response_template": "{{response_body}} {{ {x} }}"}),
        (UnknownPlaceholder, "response_template", {"response_template": "{{response_body}} {{response_body"}),
        (InvalidValue, "api_config_ref", {"api_config_ref": "x" * 256}),
        (InvalidValue, "extra", {"extra": ["x"]}),
        (InvalidValue, "changes", {"colour": "red"}),
        (InvalidValue, "actor", {"actor": "me"}),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(session, queries, error, field, changes):
    with pytest.raises(error) as refusal:
        channel_settings.change(session, "email", **(ACTOR | changes))
    assert refusal.value.field == field
    assert queries.count == 0, queries


def test_a_channel_that_is_none_is_refused(session):
    for call in (
        lambda: channel_settings.get(session, "fax"),
        lambda: channel_settings.change(session, "fax", **ACTOR),
        lambda: channel_settings.history(session, "fax"),
    ):
        with pytest.raises(InvalidValue):
            call()
