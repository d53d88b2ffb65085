"""Labels that Gmail writes into the mails of an archive (Takeout), in the language of the mailbox."""

from __future__ import annotations

import csv
from email.message import EmailMessage

from .. import _fields
from . import charsets, mime

_HEADER = "X-Gmail-Labels"
UNWANTED = frozenset(
    {
        "spam", "junk", "trash", "bin", "deleted items", "papierkorb", "corbeille", "pourriel", "papelera",
        "correo no deseado", "lixeira", "lixo", "cestino", "posta indesiderata", "prullenbak", "kosz",
        "papirkurv", "papperskorgen", "roskakori", "çöp kutusu", "корзина", "ゴミ箱", "已删除邮件", "휴지통",
    }
)  # fmt: skip
"""Spam, and what somebody threw away."""
OURS = frozenset(
    {
        "sent", "sent mail", "drafts", "draft", "gesendet", "entwürfe", "envoyés", "messages envoyés",
        "brouillons", "enviados", "borradores", "rascunhos", "posta inviata", "inviati", "bozze", "verzonden",
        "concepten", "wysłane", "wersje robocze", "sendt", "skickat", "lähetetyt", "gönderilmiş postalar",
        "отправленные", "черновики", "送信済み", "下書き", "已发邮件", "草稿", "보낸편지함",
    }
)  # fmt: skip
"""What the mailbox itself wrote, sent or not."""


def read(message: EmailMessage) -> list[str]:
    """The labels of a mail; none outside an archive of Gmail. Only the topmost header is the archive's."""
    written = next(iter(mime.as_delivered(message, _HEADER)), "")[: mime.MAX_HEADER]
    if not written:
        return []
    line = " ".join(charsets.header(written).split())
    labels = next(csv.reader([line], skipinitialspace=True), [])
    return [label for label in (_fields.one_line(text, _fields.MAX_NAME) for text in labels) if label]


def holds(labels: object, kind: frozenset[str]) -> bool:
    """Whether one of the labels is of this kind."""
    return isinstance(labels, list) and any(str(label).lower() in kind for label in labels)
