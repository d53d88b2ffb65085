"""Documents are cut where a reader would cut them, nothing is lost, and every piece fits."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unavailable
from app.services.knowledge.chunks import Chunk, chunk_html, chunk_markdown, chunk_text, tokens

Chunker = Callable[..., list[Chunk]]
ALL = pytest.mark.parametrize("chunk", [chunk_markdown, chunk_html, chunk_text], ids=lambda one: one.__name__)

WORD = st.text("abcdefghijklmnopqrstuvwxyzäßéñ中文字0123456789", min_size=1, max_size=9)
SENTENCE = st.lists(WORD, min_size=1, max_size=15).map(lambda words: f"{' '.join(words)}.")
PROSE = st.lists(SENTENCE, min_size=1, max_size=8).map(" ".join)
LINES = st.lists(SENTENCE, min_size=1, max_size=8)
MARKDOWN = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 6), SENTENCE).map(lambda one: f"{'#' * one[0]} {one[1]}"),
        PROSE,
        SENTENCE.map(lambda one: f"{one}\n==="),
        LINES.map(lambda lines: "\n".join(f"- {line}" for line in lines)),
        LINES.map(lambda lines: "\n".join(f"{'  ' * n}1. {line}" for n, line in enumerate(lines))),
        LINES.map(lambda lines: "\n".join(f"> {line}" for line in lines)),
        LINES.map(lambda lines: "\n".join(["```text", *lines, "```"])),
        LINES.map(lambda lines: "\n".join(["~~~", *lines])),
        LINES.map(lambda lines: "\n".join(f"    {line}" for line in lines)),
        LINES.map(
            lambda lines: "\n".join(["| a | b |", "|---|---|", *(f"| {line} | x |" for line in lines)])
        ),
        LINES.map(lambda lines: "\n".join(["<div>", *lines, "</div>"])),
        SENTENCE.map(lambda one: f"[{one}]: https://example.com/x"),
        st.just("---"),
    ),
    max_size=12,
).flatmap(lambda blocks: st.sampled_from(["\n\n", "\n", "\r\n\r\n"]).map(lambda gap: gap.join(blocks)))
HTML = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 6), SENTENCE).map(lambda one: f"<h{one[0]}>{one[1]}</h{one[0]}>"),
        st.tuples(st.sampled_from(["p", "div", "pre", "td", "li", "b", "h2>", "/p"]), PROSE).map(
            lambda one: f"<{one[0]}>{one[1]}"
        ),
        LINES.map(lambda rows: f"<table><tr><td>{'<tr><td>'.join(rows)}</table>"),
    ),
    max_size=12,
).map("".join)
TEXT = st.lists(PROSE, max_size=6).flatmap(
    lambda parts: st.sampled_from(["\n\n", "\n", "\r\n \r\n"]).map(lambda gap: gap.join(parts))
)
BUDGETS = st.integers(20, 60)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def everything_in(chunks: list[Chunk]) -> set[str]:
    return set().union(*(words(f"{chunk.title} {chunk.content}") for chunk in chunks))


def contents(chunks: list[Chunk]) -> list[str]:
    return [chunk.content for chunk in chunks]


def check(chunk: Chunker, document: str, budget: int, seen: set[str]) -> None:
    chunks = chunk(document, budget=budget, overlap=budget // 4)
    assert seen <= everything_in(chunks)
    assert all(tokens(one.content) <= budget for one in chunks)
    assert all(one.content.strip() and 0 < len(one.title) <= 500 for one in chunks)
    assert chunk(document, budget=budget, overlap=budget // 4) == chunks


@given(MARKDOWN, BUDGETS)
def test_no_word_of_a_markdown_document_is_lost_and_every_chunk_is_within_the_budget(document, budget):
    hidden = {"div", "text"} if "<div>" in document or "```text" in document else set()
    check(chunk_markdown, document, budget, words(document) - hidden)


@given(HTML, BUDGETS)
def test_no_word_of_a_page_is_lost_and_every_chunk_is_within_the_budget(document, budget):
    check(chunk_html, document, budget, words(re.sub("<[^>]*>", " ", document)))


@given(TEXT, BUDGETS)
def test_no_word_of_a_plain_text_is_lost_and_every_chunk_is_within_the_budget(document, budget):
    check(chunk_text, document, budget, words(document))


@given(TEXT, BUDGETS)
def test_a_chunk_of_a_plain_text_is_not_cut_again(document, budget):
    for one in chunk_text(document, budget=budget, overlap=5):
        assert contents(chunk_text(one.content, budget=budget, overlap=5)) == [one.content]


@ALL
@given(document=st.text(max_size=300), budget=BUDGETS)
def test_any_text_at_all_can_be_cut(chunk, document, budget):
    for one in chunk(document, budget=budget, overlap=5):
        assert tokens(one.content) <= budget
        assert one.content.strip()
        assert 0 < len(one.title) <= 500


@ALL
@pytest.mark.parametrize("document", ["", " \n\t\r\n ", "\x0c", "\x1c\n\n\x85"])
def test_a_document_without_content_has_no_chunks(chunk, document):
    assert chunk(document) == []


def test_what_no_reader_sees_has_no_chunks_either():
    assert chunk_markdown("---\ntags: [a]\n---\n<!-- note to\n\nourselves -->\n\n---\n") == []
    assert chunk_html("<title> </title><script>x</script><!-- y -->") == []


def test_a_title_is_never_empty_though_the_first_line_is():
    for document in ("\n\t\x85\ufeff", "\n\t\t\u2028```\nabc"):
        assert all(chunk.title for chunk in chunk_markdown(document))


def test_sections_follow_the_headings_and_carry_their_path():
    chunks = chunk_markdown(
        "Before.\n# Plans\n\n## Team\nFor teams.\n\n### *Price* of `one` seat\nSix.\n\nSolo\n----\nFor one.\n"
    )
    assert [(one.title, one.content, one.headings) for one in chunks] == [
        ("Before.", "Before.", ()),
        ("Plans > Team", "For teams.", ("Plans", "Team")),
        ("Plans > Team > Price of one seat", "Six.", ("Plans", "Team", "Price of one seat")),
        ("Plans > Solo", "For one.", ("Plans", "Solo")),
    ]


def test_a_heading_that_leads_to_nothing_is_its_own_text():
    assert contents(chunk_markdown("# Plans\n## Team\n## Solo\nFor one.\n# End")) == [
        "Team",
        "For one.",
        "End",
    ]


def test_a_heading_inside_a_listing_or_a_quotation_is_none():
    chunks = chunk_markdown("# A\n```\n# not\n```\n> # neither\n")
    assert [one.headings for one in chunks] == [("A",)]


def test_a_title_that_is_too_long_keeps_its_end_and_the_whole_path_stands_in_the_text():
    outer, inner = "outer " * 60, "inner " * 60
    (chunk,) = chunk_markdown(f"# {outer}\n## {inner}\nText.\n")
    assert chunk.title == inner.strip()
    assert chunk.content == f"{outer.strip()} > {inner.strip()}\n\nText."


def test_a_heading_longer_than_a_title_can_be_is_text():
    chunks = chunk_markdown("# " + "word " * 200)
    assert all(one.headings == () and len(one.title) <= 102 for one in chunks)


def test_the_address_of_a_link_in_a_heading_is_not_lost():
    (chunk,) = chunk_markdown("# See [the docs](https://example.com/docs)\nText.\n")
    assert chunk.title == "See the docs"
    assert chunk.content == "See [the docs](https://example.com/docs)\n\nText."


@pytest.mark.parametrize(
    ("document", "title"),
    [
        ("---\ntitle: 'Handbook'\ntags:\n  - a\n- b\n\n---\nText.", "Handbook"),
        ("---\ntitle: Handbook\n---\n# Own\nText.", "Own"),
        ("---\n\nText.\n\n---\n", "Text."),
        ("---\ntitle: never closed\n\nText.", "title: never closed"),
    ],
)
def test_the_title_in_front_matter_stands_for_a_missing_one(document, title):
    chunks = chunk_markdown(document)
    assert chunks[0].title == title
    assert "Text." in contents(chunks)[-1]


def test_html_inside_markdown_is_read_as_html():
    chunks = chunk_markdown("<h1 align='center'>Product</h1>\n\n<!-- internal -->\n\n<p>A <b>b</b></p>\n")
    assert [(one.title, one.content) for one in chunks] == [("Product", "A b")]


def test_a_listing_that_fits_is_never_cut():
    listing = "```py\n" + "x = 1\n\n" * 10 + "```"
    chunks = chunk_markdown(f"{'Words before it. ' * 9}\n\n{listing}\n\n{'Words after it. ' * 9}", budget=40)
    assert sum(listing in one.content for one in chunks) == 1


def test_a_listing_that_does_not_fit_is_cut_between_lines_and_stays_a_listing():
    lines = [f"x{number} = {number}" for number in range(60)]
    chunks = contents(chunk_markdown("\n".join(["~~~~py", *lines, "~~~~"]), budget=40))
    assert len(chunks) > 2
    assert all(one.startswith("~~~~py\n") and one.endswith("\n~~~~") for one in chunks)
    assert [line for one in chunks for line in one.split("\n")[1:-1]] == lines


def test_a_table_that_does_not_fit_is_cut_between_rows_under_the_same_head():
    head, rows = ["| plan | price |", "|---|---|"], [f"| plan {n} | {n} euros |" for n in range(40)]
    chunks = contents(chunk_markdown("\n".join([*head, *rows]), budget=40))
    assert len(chunks) > 2
    assert all(one.split("\n")[:2] == head for one in chunks)
    assert [row for one in chunks for row in one.split("\n")[2:]] == rows


def test_a_list_that_does_not_fit_is_cut_between_items():
    items = [f"- item {n} with words\n  and a second line" for n in range(20)]
    chunks = contents(chunk_markdown("\n".join(items), budget=40))
    assert len(chunks) > 2
    assert "\n".join(chunks) == "\n".join(items)


def test_a_head_that_takes_most_of_the_room_is_not_repeated():
    chunks = contents(chunk_markdown("```" + "x" * 100 + "\n" + "line\n" * 40 + "```", budget=40))
    assert sum("x" * 100 in one for one in chunks) == 1


def test_a_huge_paragraph_is_cut_between_sentences_and_the_last_ones_are_repeated():
    sentences = [f"Sentence {n} is here." for n in range(100)]
    chunks = contents(chunk_text(" ".join(sentences), budget=40, overlap=8))
    assert all(one.startswith("Sentence") and one.endswith("here.") for one in chunks)
    for one, following in pairwise(chunks):
        assert one.endswith(re.match(r".*?\.", following)[0])
    for one in chunks:
        found = re.findall(r"\d+", one)
        assert len(found) == len(set(found))


def test_the_end_of_the_prose_leads_into_what_comes_next():
    table = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 10
    chunks = contents(chunk_markdown(f"{'Other words. ' * 12}These are the limits:\n\n{table}", budget=40))
    assert chunks[1].startswith("These are the limits:\n\n| a | b |")


@ALL
def test_an_endless_word_is_cut_between_characters(chunk):
    pieces = contents(chunk("😀" * 1000, budget=20, overlap=5))
    assert set("".join(pieces)) == {"😀"}
    assert len("".join(pieces)) == 1000
    assert all(tokens(piece) <= 20 for piece in pieces)


def test_a_page_keeps_its_listings_and_rows():
    chunks = chunk_html(
        "<html><head><title>The\n docs</title><style>p {}</style></head><body><h2>Limits</h2><p>These:"
        "<table><tr><th>plan<th>files</tr><tr><td>Team<td>5</table><pre>a\n\n\n  b</pre></body>"
    )
    assert [(one.title, one.content) for one in chunks] == [
        ("The docs > Limits", "These:\n\nplan files\nTeam 5\n\n```\na\n\n  b\n```")
    ]


def test_line_ends_do_not_matter():
    document = "# A\n\nOne\ntwo\n\n```\nx\n```\n"
    for chunk in (chunk_markdown, chunk_html, chunk_text):
        assert chunk(document) == chunk(document.replace("\n", "\r\n")) == chunk(document.replace("\n", "\r"))


def test_without_the_package_the_error_names_what_to_install(monkeypatch):
    original = builtins.__import__

    def refuse(name: str, *args: object) -> object:
        if name == "markdown_it":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(Unavailable, match=r"crm-digital-fte\[ingest\]"):
        chunk_markdown("# A")
    assert chunk_text("# A")


@pytest.mark.soak
@ALL
@pytest.mark.parametrize(
    "piece",
    [
        "a ",
        "a\n",
        "a\n\n",
        "# a\n",
        "- a\n",
        "> ",
        "- ",
        "|a\n|-\n",
        "```\n",
        "[",
        "<a ",
        "<pre>",
        "<h1>",
        ". ",
        "---\na:\n",
    ],
)
def test_hostile_documents_take_time_in_proportion(chunk, piece):
    def cost(length: int) -> float:
        since = process_time()
        chunk(piece * (length // len(piece)))
        return process_time() - since

    # In proportion it is ten times as much, squared a hundred times.
    assert cost(200_000) < 30 * cost(20_000) + 0.5
