"""Answers between the lines of a quote, where the program puts both into one element."""

from __future__ import annotations

import pytest

from .mails import parsed

ATTR = '<div class="gmail_attr">On Mon, 5 Jan 2026 at 10:00, S &lt;s@us.example&gt; wrote:<br></div>'
GMAIL = '<div class="gmail_quote gmail_quote_container">'
QUOTE = '<blockquote class="gmail_quote" style="border-left:1px solid">'
PROTON = '<div class="protonmail_quote">On Monday, S &lt;s@us.example&gt; wrote:<br>'
FORWARD = (
    '<div class="gmail_attr">---------- Videresendt besked ---------<br>Fra: <b>Bank</b><br>Emne: x<br></div>'
)


@pytest.mark.parametrize(
    ("page", "new"),
    [
        (f"{GMAIL}{ATTR}{QUOTE}Q</blockquote><div>First</div>{QUOTE}Q</blockquote>Second</div>", "First\n\nSecond"),
        (f"{GMAIL}{ATTR}<div>{QUOTE}Q</blockquote><div>First</div>{QUOTE}Q</blockquote></div></div>", "First"),
        (f"{GMAIL}{ATTR}<div>See below.</div>{QUOTE}Q</blockquote><p>First</p></div>", "See below.\n\nFirst"),
        (f"{GMAIL}<div>See below.</div>{ATTR}{QUOTE}Q</blockquote></div>", "See below."),
        (f"{GMAIL}{ATTR}{QUOTE}{GMAIL}{ATTR}{QUOTE}Q</blockquote></div></blockquote>First</div>", "First"),
        (f"{PROTON}<blockquote class=protonmail_quote>Q</blockquote><div>First</div></div>", "First"),
        (f"<p>Yes</p>{PROTON}<blockquote class=protonmail_quote>Q</blockquote><br></div>", "Yes"),
        (f"<p>Yes</p>{GMAIL}S skrev mandag:<br>{QUOTE}Q</blockquote></div>", "Yes"),
        (f"<p>Yes</p>{GMAIL}{FORWARD}<p>You owe us 5.</p><blockquote>Q</blockquote></div>", "Yes"),
        (f"<p>Yes</p>{GMAIL}{FORWARD}<p>You owe us 5.</p></div>", "Yes"),
        ('<p>Yes</p><div id="ymail_android_signature"><a href="https://y.example">Yahoo</a></div>', "Yes"),
        ('<p>Yes</p><div class="k9mail-signature">Ann</div>', "Yes"),
        ('<p>Yes</p><div name="quote" style="border-left:2px solid"><b>Von:</b> S<br>Q</div>', "Yes"),
    ],
)  # fmt: skip
def test_what_stands_beside_a_quote_is_the_writer_s_and_its_introduction_is_not(page, new):
    assert parsed(page, Content_Type="text/html", Subject="Re: 17").new_text == new


@pytest.mark.parametrize(
    "introduction",
    [
        "Quoting Support <support@us.example>:",
        "Zitat von Support <support@us.example>:",
        "Mensaje citado por support@us.example:",
        "\u202bבתאריך יום ב׳, 5 בינו׳ 2026 ב-10:00 מאת \u202aS\u202c\u200f <\u202as@us.example\u202c>:\u202c",
    ],
)
def test_a_line_that_introduces_a_quote_is_not_new(introduction):
    assert parsed(f"Works now\n\n{introduction}\n\n> Q\n", Subject="Re: 17").new_text == "Works now"


@pytest.mark.parametrize(
    "body", ["It says:\n>>> import crm\n>>> crm.start()\nError", "Quoting you here:\n\nit works"]
)
def test_a_prompt_and_a_word_of_one_s_own_are_no_quote(body):
    assert parsed(body, Subject="Re: 17").new_text == body


def test_what_was_quoted_three_times_is_a_quote():
    assert parsed(">> newer\n>>> older\nYes", Subject="Re: 17").new_text == "Yes"


HEAD = "From: S <s@us.example>\nTo: a@z.example\nDate: 5 Jan 2026 10:00\nSubject: 17"


@pytest.mark.parametrize(
    "line",
    [
        f"-----S <s@us.example> wrote: -----\n{HEAD}",
        f"-----S <s@us.example> schrieb: -----\n{HEAD}",
        "---- On Mon, 05 Jan 2026 10:00:00 +0000 S <s@us.example> wrote ----",
        ">>> S <s@us.example> 05/01/2026 10:00 >>>",
        f"  Original Message  \n{HEAD}",
        f"----- Mail original -----\n{HEAD}",
        f"----- Ursprüngliche Mail -----\n{HEAD}",
        f"Sent via Superhuman ( https://sprh.example/?vip=a )\n\n{HEAD}",
        f"\u2063Get BlueMail for Android \u200b\n\n{HEAD}",
    ],
)
def test_what_further_programs_write_above_an_unmarked_quote_is_not_new(line):
    assert parsed(f"Works now\n\n{line}\n\nPlease restart.", Subject="Re: 17").new_text == "Works now"


@pytest.mark.parametrize(
    "body",
    [
        "---- part one, as I wrote: ----\nThe first",
        "Original message\nwas the title of the page",
        ">>> see the menu >>>\nIt is empty",
    ],
)
def test_a_heading_of_the_writer_s_is_new(body):
    assert parsed(f"Hello\n\n{body}", Subject="Re: 17").new_text == f"Hello\n\n{body}"


@pytest.mark.parametrize("end", ["", "</a>", "</a></div>", "</a></div><p>Yes</p>"])
@pytest.mark.parametrize("label", ["", "https://x.example", "here"])
def test_a_link_in_the_element_around_a_quote_leaves_no_mark(label, end):
    message = parsed(f"<p>Yes</p>{GMAIL}<a href='https://x.example'>{label}{end}", Content_Type="text/html")
    assert set(message.new_text.split()) <= set(message.content.split())
    assert message.content.count("https://x.example") == 1
