"""The embedder without a model: deterministic, total, and good enough to find the right article."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.embeddings import DIMENSIONS, LexicalEmbedder, embed_texts

EMBEDDER = LexicalEmbedder()

ARTICLES = {
    "password": "Forgotten password. Choose 'Reset password' on the login page; a link arrives by email.",
    "invoice": "Invoices and receipts. Download every invoice as PDF from the billing page; add a tax ID.",
    "refund": "Refund policy. Money returns to the card within ten days if you cancel in the first month.",
    "dark": "Dark mode. Switch the theme between light and dark under Appearance.",
    "export": "Export data. Save all projects as a CSV or JSON archive and keep a copy on your disk.",
    "slack": "Slack integration. Connect a channel and get a message when a task changes.",
    "mobile": "Mobile application. Install the app on iPhone or Android and work without a connection.",
    "invite": "Invite colleagues. Send an invitation to teammates and give each a role with permissions.",
    "twofactor": "Two-factor authentication. Scan a QR code with an authenticator; keep the recovery codes.",
    "api": "API keys. Create a token for the REST interface; each token has a rate limit per minute.",
    "outage": "Service status. Outages and planned maintenance are announced on the status page.",
    "delete": "Delete an account. Everything that you stored is erased for good after thirty days.",
}  # fmt: skip

QUESTIONS = [
    ("i forgot my pasword and cant login", "password"),
    ("where do I downlaod the invoce for my taxes?", "invoice"),
    ("can i get refunded if i cancell", "refund"),
    ("Is there a darker theme for the screen", "dark"),
    ("exporting my projets to csv", "export"),
    ("connecting slakc to get messages about tasks", "slack"),
    ("does the app work on an andriod phone", "mobile"),
    ("how to invte a team mate with other permisions", "invite"),
    ("lost my two factor authentification recovery code", "twofactor"),
    ("api token hits the rate-limits", "api"),
    ("is there an outtage or maintainance today?", "outage"),
    ("please erase and delete my acount", "delete"),
]


def embed(text: str) -> list[float]:
    return EMBEDDER.embed([text])[0]


def similarity(a: str, b: str) -> float:
    return sum(x * y for x, y in zip(embed(a), embed(b), strict=True))


@settings(deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_every_text_has_a_finite_vector_of_length_one(text):
    vector = embed(text)

    assert len(vector) == DIMENSIONS == EMBEDDER.dimensions
    assert all(map(math.isfinite, vector))
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_a_text_has_the_same_vector_alone_and_among_others(texts):
    assert EMBEDDER.embed(texts) == [embed(text) for text in texts]


@pytest.mark.parametrize(
    "text", ["", " ", "?!", "?", "...", "👍", "👍🏽 🎉", "\u200b", "\x00", "_", "\ud800", "''"]
)
def test_a_text_without_words_has_a_vector_of_its_own(text):
    assert math.hypot(*embed(text)) == pytest.approx(1)
    assert similarity(text, "password reset") < 0.5


def test_two_emoji_differ_and_one_equals_itself():
    assert similarity("👍", "👍") == pytest.approx(1)
    assert similarity("👍", "👎") < 0.9


def test_features_that_cancel_each_other_out_still_leave_a_vector():
    for first in range(0x1F300, 0x1F5FF):
        assert math.hypot(*embed(chr(first) + "\u2192")) == pytest.approx(1)


def test_vectors_do_not_depend_on_the_process_or_its_hash_seed():
    texts = ["Reset my password", "Straße naïve ﬁn", "パスワードを忘れた", "👍", ""]
    script = f"from app.embeddings import LexicalEmbedder; print(LexicalEmbedder().embed({texts!a}))"

    for seed in ("0", "1", "4294967295"):
        run = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(run.stdout) == EMBEDDER.embed(texts)


def test_stored_vectors_stay_comparable_as_long_as_the_model_keeps_its_name():
    assert EMBEDDER.model == "lexical-1536-v1"
    strongest = sorted(enumerate(embed("Reset my password")), key=lambda item: -abs(item[1]))[:3]
    assert dict(strongest) == pytest.approx({446: 0.4894, 949: -0.4894, 461: 0.2447}, abs=1e-4)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param("Reset PASSWORD", "reset password", id="letter case"),
        pytest.param("résumé café", "resume cafe", id="accents"),
        pytest.param("re\u0301sume\u0301", "résumé", id="composed and decomposed"),
        pytest.param("\uff50\uff41\uff53\uff53word \u2460", "password 1", id="compatibility forms"),
        pytest.param("Straße", "STRASSE", id="sharp s"),
        pytest.param("reset, password!", "reset password", id="punctuation"),
        pytest.param("don't", "don\u2019t", id="apostrophes"),
        pytest.param("pass\u00adword", "password", id="soft hyphen"),
        pytest.param("  reset\n\tpassword ", "reset password", id="whitespace"),
    ],
)
def test_spellings_of_one_text_have_one_vector(a, b):
    assert similarity(a, b) == pytest.approx(1)


@pytest.mark.parametrize(("question", "article"), QUESTIONS)
def test_a_question_with_typos_finds_the_right_article(question, article):
    vectors = dict(zip(ARTICLES, EMBEDDER.embed(list(ARTICLES.values())), strict=True))
    asked = embed(question)

    ranked = sorted(vectors, key=lambda key: -sum(x * y for x, y in zip(asked, vectors[key], strict=True)))

    assert ranked[0] == article


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        pytest.param(
            "パスワードを忘れました", "パスワードの再設定", "請求書をダウンロードする", id="japanese"
        ),
        pytest.param("密码怎么重置", "如何重置密码", "如何下载发票", id="chinese"),
        pytest.param("비밀번호를 잊어버렸어요", "비밀번호 재설정", "청구서 다운로드", id="korean"),
        pytest.param("ลืมรหัสผ่าน", "การตั้งรหัสผ่านใหม่", "ดาวน์โหลดใบแจ้งหนี้", id="thai"),
        pytest.param("забыла пароль", "Восстановление пароля", "Скачать счёт", id="russian"),
        pytest.param("पासवर्ड भूल गया", "पासवर्ड रीसेट करें", "चालान डाउनलोड करें", id="hindi"),
        pytest.param("نسيت كلمة المرور", "إعادة تعيين كلمة المرور", "تنزيل الفاتورة", id="arabic"),
        pytest.param("ξέχασα τον κωδικό", "Επαναφορά κωδικού", "Λήψη τιμολογίου", id="greek"),
    ],
)
def test_other_scripts_are_searched_by_their_pieces(question, right, wrong):
    assert similarity(question, right) > similarity(question, wrong) + 0.05


@pytest.mark.parametrize(
    ("a", "b", "least"),
    [
        ("notification", "notifications", 0.9),
        ("cancel", "cancelling", 0.7),
        ("plan", "planned", 0.7),
        ("retry", "retries", 0.6),
        ("password", "pasword", 0.25),
        ("maintenance", "maintainance", 0.25),
        ("invoice", "invocie", 0.15),
    ],
)
def test_inflections_stay_near_and_typos_within_reach(a, b, least):
    assert similarity(a, b) > least


def test_unrelated_texts_are_nearly_orthogonal():
    assert abs(similarity("invoice download", "dark theme")) < 0.15


def test_filler_words_hardly_count():
    assert similarity("How do I reset the password please?", "reset password") > 0.9


def test_it_is_lexical_and_knows_no_synonyms():
    assert similarity("automobile", "car") < 0.2


def test_a_pasted_megabyte_without_a_space_is_embedded_in_bounded_time():
    started = process_time()

    (vector,) = embed_texts(EMBEDDER, ["deadbeef0123" * 80_000])

    assert math.hypot(*vector) == pytest.approx(1)
    assert process_time() - started < 30
