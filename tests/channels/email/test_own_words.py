"""A writer's own words in the forms of mail programs; and those forms in further languages."""

from __future__ import annotations

import pytest

from .mails import parsed


@pytest.mark.parametrize(
    "body",
    [
        "My data:\n\nFrom: Berlin\nTo: Paris\nDate: 5 Jan 2026\nPassengers: 2",
        "Meine Reise:\n\nVon: Berlin\nAn: Rom\nDatum: 5.1.2026\nBetreff: Umbuchung\n\nBitte umbuchen",
        "My flight:\n\nFrom: Berlin\nTo: Paris\nDate: 5 Jan 2026 10:00\n\nPlease move it.",
        "The log says:\n\nFrom: db-1\nDate: 2026-01-05 10:00:00\nTo: db-2\nreplication failed\n\nWhat now?",
        "To: whom it may concern\nDate: 5 Jan 2026 10:00\nFrom: Ann, ann@z.example\nSubject: Complaint\n\nI complain.",
        "First\n—\nSecond, which is a sentence of mine.",
        "List:\n--\nitem one\n--\nitem two",
        "Hello,\n\nOn Monday, 5 January 2026, your agent Max wrote:\n\nIt comes tomorrow.\n\nIt did not come.",
    ],
)
def test_words_in_a_program_s_form_are_kept(body):
    assert parsed(body, Subject="Re: 17").new_text == body


@pytest.mark.parametrize(
    "above",
    [
        "I am angry because the agent on 5 Jan 2026 wrote:",
        "It failed on 5.1.2026 at 10:00 for user a@b.example:",
        "Le problème est que votre agent nous a écrit :",
    ],
)
def test_a_sentence_above_a_quote_is_the_writer_s(above):
    assert parsed(f"{above}\n> The refund comes.\nWhen?", Subject="Re: 17").new_text == f"{above}\n\nWhen?"


HEADS = [
    ("Gönderen", "Gönderildi", "Kime", "Konu"),
    ("من", "تاريخ الإرسال", "إلى", "الموضوع"),
    ("Odesílatel", "Odesláno", "Komu", "Předmět"),
    ("Lähettäjä", "Lähetetty", "Vastaanottaja", "Aihe"),
    ("Feladó", "Elküldve", "Címzett", "Tárgy"),
    ("Από", "Στάλθηκε", "Προς", "Θέμα"),
]


@pytest.mark.parametrize("rule", ["", "________________________________\n"], ids=["bare", "ruled"])
@pytest.mark.parametrize("names", HEADS, ids=[names[0] for names in HEADS])
def test_outlook_s_headers_in_further_languages_begin_a_quote(names, rule):
    values = ("Support <support@us.example>", "5 Jan 2026 10:00", "Ann", "Re: 17")
    head = "".join(f"{name}: {value}\n" for name, value in zip(names, values, strict=True))

    assert parsed(f"Works now\n\n{rule}{head}\nPlease restart.", Subject="Re: 17").new_text == "Works now"


@pytest.mark.parametrize(
    "introduction",
    [
        "пн, 5 янв. 2026 г. в 10:00, Support <support@us.example>:",
        "2026年1月5日(月) 10:00 Support <support@us.example>:",
        "2026년 1월 5일 (월) 오전 10:00, Support <support@us.example>님이 작성:",
        "2026-01-05 오전 10:00에 Support 이(가) 쓴 글:",
        "في الاثنين، 5 يناير 2026 في 10:00 ص تمت كتابة ما يلي بواسطة Support <support@us.example>:",
    ],
)
@pytest.mark.parametrize("mark", ["> ", ""], ids=["marked", "bare"])
def test_introductions_of_further_languages_begin_a_quote(introduction, mark):
    body = f"Works now\n\n{introduction}\n\n{mark}Please restart."

    assert parsed(body, Subject="Re: 17").new_text == "Works now"


@pytest.mark.parametrize(
    "name", ["yahoo_quoted", "ydp1a2b3cyahoo_quoted", "x_yahoo_quoted", "x_x_protonmail_quote"]
)
def test_a_program_s_class_is_known_under_another_s_prefix(name):
    page = f'<div>Works now</div><div class="{name}"><div>On Monday, S wrote:</div><div>Please restart.</div></div>'

    assert parsed(page, Content_Type="text/html").new_text == "Works now"


def test_what_openpgp_adds_around_a_text_is_not_new():
    signed = "Where is my order?\n\n- -- \nAnn"
    signature = "-----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCAAdFiEE\n=AbCd\n-----END PGP SIGNATURE-----"
    body = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{signed}\n{signature}"

    message = parsed(body)

    assert (message.new_text, message.content) == ("Where is my order?", body)


def test_who_writes_about_openpgp_keeps_the_words():
    body = "It begins with\n\n-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n\nand then?"

    assert parsed(body).new_text == body


LINE = "border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in"


def test_below_a_line_of_outlook_s_is_a_quote_only_where_its_headers_are():
    own = f'<p>First</p><div style="{LINE}"><p>Second, in a box.</p></div><p>Third: the end</p>'
    head = "<p><b>Från:</b> S<br><b>Skickat:</b> i dag<br><b>Till:</b> Ann<br><b>Ämne:</b> 17</p>"
    quote = f'<p>First</p><div style="{LINE}">{head}</div><p>Please restart.</p>'

    assert parsed(own, Content_Type="text/html").new_text == "First\n\nSecond, in a box.\n\nThird: the end"
    assert parsed(quote, Content_Type="text/html; charset=utf-8").new_text == "First"


@pytest.mark.parametrize(
    "line",
    [
        "-------- Vidarebefordrat meddelande --------",
        "-------- Перенаправленное сообщение --------",
        "-------- İletilmiş Mesaj --------",
        "-------- 転送されたメッセージ --------",
        "Start på videresendt besked:",
        "Začátek přeposlané zprávy:",
        "开始转发的邮件：",
        "전달된 메시지 시작:",
    ],
)
def test_a_line_above_a_forwarded_message_is_known_in_further_languages(line):
    forwarded = f"{line}\n\nFrom: b@bank.example\nSubject: Bill\n\nYou owe us 5."

    assert parsed(f"Is this you?\n\n{forwarded}").new_text == "Is this you?"
    assert parsed(forwarded).new_text == forwarded
    assert parsed(f"{line} so it says\nBut why?").new_text == f"{line} so it says\nBut why?"
