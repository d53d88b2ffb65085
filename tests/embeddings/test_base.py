"""What a vector and a text must be before they reach SQL or an embedder."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.embeddings import DIMENSIONS, embed_query, embed_texts, prepare, prepare_of
from app.errors import CustomerNotFound, EmbedderUnavailable, InvalidValue, InvalidVector
from app.models.knowledge import EMBEDDING_DIMENSIONS

FLOAT32 = 2**-23
"""A smaller difference of a length is none in the database."""
components = st.floats(min_value=-1e6, max_value=1e6).map(lambda x: x if abs(x) > 1e-6 else 0.0)
vectors = st.lists(components, min_size=1, max_size=40).filter(any)


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


@dataclass(frozen=True)
class Scripted:
    """An embedder that answers with what the test gave it, and keeps what it was asked."""

    answer: object
    dimensions: int = 2
    model: str = "scripted"
    asked: list[Sequence[str]] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(texts)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


def test_the_width_is_that_of_the_vector_columns():
    assert DIMENSIONS == EMBEDDING_DIMENSIONS


def test_a_short_vector_is_scaled_to_length_one_and_padded_with_zeros():
    assert prepare([3, 4], dimensions=4) == pytest.approx([0.6, 0.8, 0, 0])
    assert len(prepare([3, 4])) == 1536


@settings(deadline=None)
@given(vectors)
def test_a_prepared_vector_has_length_one_and_full_width(vector):
    prepared = prepare(vector)

    assert len(prepared) == DIMENSIONS
    assert math.hypot(*prepared) == pytest.approx(1, abs=FLOAT32)


@settings(deadline=None)
@given(st.data())
def test_padding_and_scaling_keep_the_cosine(data):
    size = data.draw(st.integers(1, 40))
    a, b = (data.draw(st.lists(components, min_size=size, max_size=size).filter(any)) for _ in range(2))
    cosine = dot(a, b) / math.hypot(*a) / math.hypot(*b)

    assert dot(prepare(a), prepare(b)) == pytest.approx(cosine, abs=1e-9)


@settings(deadline=None)
@given(vectors)
def test_preparing_twice_changes_nothing(vector):
    once = prepare(vector)

    assert prepare(once) == pytest.approx(once, abs=1e-12)


@settings(deadline=None)
@given(vectors)
def test_a_vector_of_length_one_in_float32_stays_as_it_is(vector):
    stored = list(struct.unpack(f"{DIMENSIONS}f", struct.pack(f"{DIMENSIONS}f", *prepare(vector))))

    assert prepare(stored) == stored
    assert prepare([value * (1 + 1e-6) for value in stored]) == pytest.approx(stored, abs=FLOAT32)


@pytest.mark.parametrize("scale", [1e30, 1e-30, 1e150, 1e-150, 1e300, 1e-300])
def test_a_length_that_float32_cannot_hold_is_scaled_first(scale):
    assert prepare([3 * scale, -4 * scale], dimensions=2) == pytest.approx([0.6, -0.8])


@settings(deadline=None)
@given(vectors)
def test_a_prepared_vector_keeps_its_direction_in_float32_and_float16(vector):
    prepared = prepare(vector)
    for code, tolerance in (("f", 1e-6), ("e", 1e-2)):
        stored = struct.unpack(f"{DIMENSIONS}{code}", struct.pack(f"{DIMENSIONS}{code}", *prepared))

        assert math.hypot(*stored) == pytest.approx(1, abs=tolerance)


@settings(deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_any_floats_are_either_refused_or_given_length_one(vector):
    sound = sys.float_info.min <= math.hypot(*vector) <= sys.float_info.max and all(
        map(math.isfinite, vector)
    )

    if sound:
        assert math.hypot(*prepare(vector)) == pytest.approx(1, abs=FLOAT32)
    else:
        with pytest.raises(InvalidVector):
            prepare(vector)


@pytest.mark.parametrize(
    ("vector", "problem"),
    [
        pytest.param([], "at least one dimension", id="empty"),
        pytest.param([1.0] * 1537, "1537 dimensions does not fit into 1536", id="too long"),
        pytest.param([0.0, 0.0], "no direction", id="zeros"),
        pytest.param([0, -0.0], "no direction", id="negative zero"),
        pytest.param([1.0, math.nan], "finite", id="nan"),
        pytest.param([1.0, -math.inf], "finite", id="infinity"),
        pytest.param([math.inf, math.nan], "finite", id="infinity and nan"),
        pytest.param([1.0, 10**400], "finite", id="an integer beyond float"),
        pytest.param([1.7e308, 1.7e308], "outside of what a float can hold", id="length overflows"),
        pytest.param([5e-324, 5e-324], "outside of what a float can hold", id="length underflows"),
        pytest.param("1,2,3", "not str", id="text"),
        pytest.param(b"\x01\x02", "not bytes", id="bytes"),
        pytest.param({1.0: 2.0}, "not dict", id="mapping"),
        pytest.param({1.0, 2.0}, "not set", id="set"),
        pytest.param(None, "not NoneType", id="none"),
        pytest.param(3.5, "not float", id="number"),
        pytest.param((x for x in [1.0]), "not generator", id="generator"),
        pytest.param([1.0, "2"], "not str", id="text inside"),
        pytest.param([1.0, None], "not NoneType", id="none inside"),
        pytest.param([1.0, True], "not bool", id="bool inside"),
        pytest.param([1.0, 2j], "not complex", id="complex inside"),
        pytest.param([[1.0], [2.0]], "not list", id="nested"),
    ],
)
def test_what_cannot_be_stored_or_compared_is_refused(vector, problem):
    with pytest.raises(InvalidVector, match=problem):
        prepare(vector)


@pytest.mark.parametrize(
    "vector", [(3, 4), [Fraction(3), Fraction(4)], range(3, 5)], ids=["tuple", "fractions", "range"]
)
def test_any_sequence_of_real_numbers_will_do(vector):
    assert prepare(vector, dimensions=2) == pytest.approx([0.6, 0.8])


def test_a_numpy_array_will_do():
    numpy = pytest.importorskip("numpy")

    assert prepare(numpy.array([3, 4], dtype="float32"), dimensions=2) == pytest.approx([0.6, 0.8])
    for wrong in (numpy.array(1.0), numpy.eye(2), numpy.array([True, False]), numpy.array([1.0, numpy.inf])):
        with pytest.raises(InvalidVector):
            prepare(wrong)


def test_texts_become_prepared_vectors_in_their_order():
    embedder = Scripted([[3.0, 4.0], [0.0, -2.0]])

    first, second = embed_texts(embedder, ["one", "two"])

    assert (first[:3], second[:3]) == (pytest.approx([0.6, 0.8, 0]), pytest.approx([0, -1, 0]))
    assert len(first) == len(second) == DIMENSIONS


def test_no_texts_need_no_call():
    embedder = Scripted([])

    assert embed_texts(embedder, []) == []
    assert embedder.asked == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "blank", id="empty"),
        pytest.param(" \t\n\u00a0\u3000", "blank", id="whitespace"),
        pytest.param("x" * 1_000_001, "1000001 bytes", id="too long"),
        pytest.param("\u00e9" * 500_001, "1000002 bytes", id="too long in UTF-8"),
        pytest.param("secret \ud83d", "not valid Unicode", id="half a surrogate pair"),
        pytest.param(None, "not NoneType", id="none"),
        pytest.param(b"secret", "not bytes", id="bytes"),
    ],
)
def test_a_text_that_cannot_be_embedded_is_refused_before_the_call(text, problem):
    embedder = Scripted([[1.0, 0.0], [1.0, 0.0]])

    with pytest.raises(InvalidValue, match=problem) as caught:
        embed_texts(embedder, ["fine", text])

    assert caught.value.field == "text"
    assert "secret" not in str(caught.value)
    assert embedder.asked == []


def test_a_text_of_exactly_one_megabyte_is_embedded():
    assert len(embed_texts(Scripted([[1.0, 0.0]]), ["x" * 1_000_000])) == 1


def test_one_text_in_place_of_a_list_is_refused():
    with pytest.raises(InvalidValue, match="sequence of texts"):
        embed_texts(Scripted([[1.0, 0.0]] * 3), "abc")


@pytest.mark.parametrize("answer", [[], [[1.0, 0.0]], [[1.0, 0.0]] * 3], ids=["none", "too few", "too many"])
def test_another_number_of_vectors_than_texts_is_a_failed_embedder(answer):
    with pytest.raises(EmbedderUnavailable, match=rf"scripted returned {len(answer)} vectors for 2 texts"):
        embed_texts(Scripted(answer), ["one", "two"])


@pytest.mark.parametrize(
    "failure", [RuntimeError("quotes my text"), KeyError("my text"), OSError(5, "my text")]
)
def test_any_failure_of_an_embedder_has_one_type_and_quotes_no_text(failure):
    with pytest.raises(EmbedderUnavailable) as caught:
        embed_texts(Scripted(failure), ["my text"])

    assert caught.value.__cause__ is failure
    assert str(caught.value) == f"the embedder scripted failed: {type(failure).__name__}"


def test_an_answer_that_is_no_list_is_a_failed_embedder():
    with pytest.raises(EmbedderUnavailable, match="TypeError"):
        embed_texts(Scripted(None), ["text"])


def test_an_error_of_our_own_passes_unchanged():
    failure = CustomerNotFound("7")

    with pytest.raises(CustomerNotFound) as caught:
        embed_texts(Scripted(failure), ["text"])

    assert caught.value is failure


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 0.0, 0.0]], ids=["shorter", "longer"])
def test_a_vector_of_other_dimensions_than_promised_is_refused(wrong):
    with pytest.raises(InvalidVector, match=rf"has 2 dimensions and returned {len(wrong)}"):
        embed_texts(Scripted([[1.0, 0.0], wrong]), ["one", "two"])


@pytest.mark.parametrize("wrong", [[math.nan, 1.0], [0.0, 0.0], None], ids=["nan", "zeros", "none"])
def test_a_useless_vector_from_an_embedder_is_refused(wrong):
    with pytest.raises(InvalidVector):
        embed_texts(Scripted([[1.0, 0.0], wrong]), ["one", "two"])


def test_an_embedder_wider_than_the_columns_is_refused():
    with pytest.raises(InvalidVector, match="3072 dimensions does not fit into 1536"):
        embed_texts(Scripted([[1.0] * 3072], dimensions=3072), ["text"])


class Prefixing(Scripted):
    """A model that takes questions otherwise."""

    def embed_query(self, _):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_question_is_embedded_by_the_way_for_questions_where_there_is_one():
    assert embed_query(Prefixing([0.0, 2.0]), "text")[:2] == [0.0, 1.0]
    assert embed_query(Scripted([[3.0, 0.0]]), "text")[:2] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (RuntimeError("my text"), EmbedderUnavailable),
        ([1.0], InvalidVector),
        ([math.nan, 1.0], InvalidVector),
        (CustomerNotFound("7"), CustomerNotFound),
    ],
)
def test_a_question_s_vector_passes_the_same_checks(answer, error):
    with pytest.raises(error) as caught:
        embed_query(Prefixing(answer), "my text")
    assert "my text" not in str(caught.value)


def test_a_blank_question_reaches_no_embedder():
    with pytest.raises(InvalidValue):
        embed_query(Prefixing(AssertionError("called")), " ")


def test_an_embedder_that_is_too_wide_is_told_what_to_do():
    with pytest.raises(InvalidVector, match=r"ask the model .* for 1536 or fewer, or set matryoshka = True"):
        embed_texts(Scripted([[1.0] * 3072], dimensions=3072), ["text"])


class Nested(Scripted):
    """Of a model that puts what matters most first."""

    matryoshka = True


def test_a_vector_whose_model_allows_it_is_shortened_and_brought_to_unit_length():
    embedder = Nested([[3.0, 4.0, *[0.0] * 1534, *[9.0] * 1536]], dimensions=3072)
    (vector,) = embed_texts(embedder, ["text"])
    assert len(vector) == 1536
    assert vector[:2] == pytest.approx([0.6, 0.8])
    assert not any(vector[2:])
    assert prepare_of(embedder, vector) == pytest.approx(vector)


def test_what_is_left_of_a_shortened_vector_needs_a_direction():
    embedder = Nested([[*[0.0] * 1536, *[9.0] * 1536]], dimensions=3072)
    with pytest.raises(InvalidVector, match="no direction"):
        embed_texts(embedder, ["text"])
