"""What the migrations put into the tables, and what they leave alone on the way back."""

from __future__ import annotations

import pytest

from app import migrations

# What is tested here does not depend on the server's major.
pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")

CHANNELS = [
    (
        "email", True, 500, "formal",
        "Hi {{customer_name}},\n\n{{response_body}}\n\nBest regards,\nTechCorp Support Team\n"
        "support@techcorp.io | status.techcorp.io",
        "GMAIL_", {},
    ),
    (
        "web_form", True, 300, "semi-formal",
        "Hi {{customer_name}},\n\n{{response_body}}\n\nYour ticket reference: {{ticket_number}}\n"
        "Track your ticket at support.techcorp.io",
        None, {},
    ),
    ("whatsapp", True, 1600, "conversational", "{{response_body}}", "TWILIO_", {}),
]  # fmt: skip
CHANNEL_ROWS = """
    SELECT channel, is_enabled, max_response_length, tone, response_template, api_config_ref, metadata
    FROM channel_configs ORDER BY channel
"""
VECTOR = "array_fill(1, ARRAY[1536])::vector"
PROVENANCE = """jsonb_build_object('embedding', jsonb_build_object('model', 'x', 'hash', 'y'))"""


def titles(server, url):
    return {title for (title,) in server.ask(url, "SELECT title FROM knowledge_base")}


def test_the_three_channels_are_seeded_verbatim(server):
    assert [tuple(row) for row in server.ask(server.as_migrated("0002"), CHANNEL_ROWS)] == CHANNELS


@pytest.mark.parametrize(
    "edit",
    [
        "tone = 'formal'",
        "is_enabled = false",
        "response_template = NULL",
        'metadata = \'{"by": "us"}\'',
        "api_config_ref = 'OTHER_'",
    ],
)
def test_an_edited_channel_stays_through_a_downgrade_and_the_next_upgrade(server, edit):
    url = server.at("0002")
    server.ask(url, f"UPDATE channel_configs SET {edit} WHERE channel = 'whatsapp'")
    edited = server.ask(url, "SELECT * FROM channel_configs WHERE channel = 'whatsapp'")

    migrations.downgrade(url, "0001")
    assert server.ask(url, "SELECT * FROM channel_configs") == edited
    migrations.upgrade(url, "0002")

    assert server.ask(url, "SELECT * FROM channel_configs WHERE channel = 'whatsapp'") == edited
    assert server.one(url, "SELECT count(*) FROM channel_configs") == 3


def test_a_channel_that_was_configured_before_keeps_its_row(server):
    url = server.at("0001")
    server.ask(
        url, "INSERT INTO channel_configs (channel, max_response_length, tone) VALUES ('email', 7, 'formal')"
    )
    migrations.upgrade(url, "0002")
    assert server.ask(url, "SELECT channel, max_response_length FROM channel_configs ORDER BY channel") == [
        ("email", 7),
        ("web_form", 300),
        ("whatsapp", 1600),
    ]


def test_the_documentation_covers_every_category(server):
    rows = server.ask(
        server.as_migrated("0003"),
        "SELECT category, count(*), min(length(content)), count(embedding), bool_and(is_active) "
        "FROM knowledge_base GROUP BY 1",
    )
    assert {row[0] for row in rows} == {"faq", "troubleshooting", "feature", "billing", "account", "general"}
    assert sum(row[1] for row in rows) >= 30
    assert all(shortest > 200 and embedded == 0 and active for _, _, shortest, embedded, active in rows)


def test_the_documentation_has_the_same_ids_everywhere(server):
    rows = "SELECT id, title, content, category, source FROM knowledge_base ORDER BY id"
    another = server.empty()
    migrations.upgrade(another, "0003")
    assert server.ask(another, rows) == server.ask(server.as_migrated("0003"), rows)


def test_no_two_sections_are_the_same(server):
    url = server.as_migrated("0003")
    total, different, texts = server.ask(
        url, "SELECT count(*), count(DISTINCT title), count(DISTINCT content) FROM knowledge_base"
    )[0]
    assert total == different == texts


@pytest.mark.parametrize(
    "edit",
    [
        "title = 'Our own title'",
        "content = content || ' More.'",
        "category = CASE category WHEN 'faq' THEN 'general' ELSE 'faq' END",
        "source = 'wiki'",
        "is_active = false",
        "metadata = '{\"reviewed\": true}'",
        f"embedding = {VECTOR}, metadata = {PROVENANCE} || '{{\"reviewed\": true}}'",
    ],
)
def test_an_edited_section_stays_through_a_downgrade_and_the_next_upgrade(server, edit):
    url = server.at("0003")
    before = titles(server, url)
    chosen = server.one(url, "SELECT min(id::text) FROM knowledge_base")
    server.ask(url, f"UPDATE knowledge_base SET {edit} WHERE id = CAST(:id AS uuid)", id=chosen)
    edited = server.ask(url, "SELECT * FROM knowledge_base WHERE id = CAST(:id AS uuid)", id=chosen)

    migrations.downgrade(url, "0002")
    assert server.ask(url, "SELECT * FROM knowledge_base") == edited
    migrations.upgrade(url, "0003")

    assert server.ask(url, "SELECT * FROM knowledge_base WHERE id = CAST(:id AS uuid)", id=chosen) == edited
    assert len(titles(server, url)) == len(before)


def test_an_embedding_alone_is_not_an_edit(server):
    url = server.at("0003")
    server.ask(url, f"UPDATE knowledge_base SET embedding = {VECTOR}, metadata = {PROVENANCE}")
    migrations.downgrade(url, "0002")
    assert titles(server, url) == set()


def test_articles_of_somebody_else_stay(server):
    url = server.at("0003")
    server.ask(url, "INSERT INTO knowledge_base (title, content, category) VALUES ('Ours', 'Text', 'faq')")
    migrations.downgrade(url, "0002")
    assert titles(server, url) == {"Ours"}
