"""The last line of a mail: a telephone's own, or the writer's that only begins like one."""

from __future__ import annotations

import pytest

from .mails import parsed

QUOTE = "\n\nOn Mon, 5 Jan 2026 at 10:00, Support <support@us.example> wrote:\n> Please restart."


@pytest.mark.parametrize("below", ["", QUOTE], ids=["alone", "quoted"])
@pytest.mark.parametrize(
    "line",
    [
        "Sent with Outlook but it came back.",
        "Sent via mail to your office on Monday",
        "Sent from Gmail, bounced",
        "sent from mobile app: error 5",
        "Von meinem iPhone aus geht es nicht.",
        "Von meinem Handy kann ich nicht zahlen",
        "Gesendet mit Outlook, kam aber nicht an.",
        "Diese Nachricht wurde von meinem Handy nicht gesendet",
        "Envoyé depuis mon téléphone, le formulaire échoue",
        "Enviado desde el móvil no funciona",
        "Inviato da cellulare non arriva nulla",
        "Verzonden via Outlook, maar niet aangekomen",
        "Wysłane z telefonu nie dochodzi",
        "Отправлено с телефона, но не дошло",
    ],
)
def test_a_sentence_that_begins_like_a_footer_is_the_writer_s(line, below):
    assert parsed(f"Hello,\n\n{line}{below}", Subject="Re: 17").new_text == f"Hello,\n\n{line}"


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my Verizon, Samsung Galaxy smartphone",
        "Sent via the Samsung Galaxy S21 Ultra 5G, an AT&T 5G smartphone",
        "Sent from Mail<https://go.microsoft.com/fwlink/?LinkId=550986> for Windows",
        "Sent with [Proton Mail](https://proton.me/mail/home) secure email.",
        "Diese Nachricht wurde von meinem Android-Gerät mit GMX Mail gesendet.",
        "Von meinem/meiner Galaxy gesendet",
        "Outlook für iOS beziehen<https://aka.ms/o0ukef>",
        "Envoyé à partir de Outlook pour Android",
        "Enviado desde Correo para Windows",
        "Outlook voor iOS downloaden<https://aka.ms/o0ukef>",
        "Wysłane z iPhone'a",
        "Skickat från min iPhone",
        "Sent via Superhuman",
        "Yahoo Mail: Search, Organize, Conquer",
        "Sent with Spark",
        "Gesendet mit Tutanota",
        "Отправлено с iPhone",
        "iPhone'umdan gönderildi",
        "iOS için Outlook'u edinin",
        "iPhoneから送信",
        "Outlook for iOS を入手<https://aka.ms/o0ukef>",
        "发自我的iPhone",
        "나의 iPhone에서 보냄",
        "iOS용 Outlook 다운로드",
        "أُرسلت من الـ iPhone",
    ],
)
def test_what_a_telephone_adds_is_not_new(line):
    assert parsed(f"Works now\n\n{line}{QUOTE}", Subject="Re: 17").new_text == "Works now"
