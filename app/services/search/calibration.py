"""From which score on a hit answers a question, measured with questions that have an answer and others."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy.orm import Session

from ...embeddings import Embedder, QueryEmbedder, embed_query, embed_texts
from ...errors import InvalidValue
from ...schemas import Calibration, ObjectType, SearchMode, SearchModeCode
from .._shared.checks import checked_code, checked_text, is_number
from ..indexing.embedding import BATCH, checked_model
from ..indexing.parameters import typed
from .hits import check_models
from .options import DEFAULT_WEIGHTS, MAX_QUERY, check_weights, checked_vector, vector_share

Question = str | Sequence[float]

MOST_QUESTIONS = 10_000
"""In either list."""

_CONFIDENCE = typed("""
    SELECT max(hit.confidence) FROM search_objects(:object_type, :query, :query_text, 2, '{}', NULL,
        :query_model, :vector_weight, :text_weight, :query_dimensions) AS hit
""")
_FIND = typed("""
    SELECT threshold, answered, refused, calibrated_at FROM search_thresholds
    WHERE (object_type, model, dimensions, vector_share)
        = (:object_type, :threshold_model, :model_dimensions, :vector_share)
""")
_STORE = typed("""
    INSERT INTO search_thresholds
        (object_type, model, dimensions, vector_share, threshold, answered, refused)
    VALUES (:object_type, :threshold_model, :model_dimensions, :vector_share,
        :threshold, :answered, :share_refused)
    ON CONFLICT (object_type, model, dimensions, vector_share) DO UPDATE
    SET (threshold, answered, refused, calibrated_at)
        = (EXCLUDED.threshold, EXCLUDED.answered, EXCLUDED.refused, EXCLUDED.calibrated_at)
""")


def calibrate(
    session: Session,
    answerable: Sequence[Question],
    unanswerable: Sequence[Question],
    *,
    embedder: Embedder | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    answered: float = 0.95,
    object_type: ObjectType = ObjectType.KNOWLEDGE,
) -> float:
    """Measure and keep the threshold at which the part ``answered`` of the answerable questions is answered.

    Returns it, for ``min_score``; from now on hits of the same model, mode and weights with at least this
    confidence are ``confident``. It lies midway between the lowest confidence that has to be enough and the
    next lower one of any question. Questions are texts, or in vector mode also vectors, of customers as they
    write; a hundred of each kind are a beginning. One flight per question. Calibrate anew when another model
    answers or the base has become another one. Locks the threshold's row until the transaction ends.

    Raises:
        InvalidValue: no questions of one kind, or over 10,000; a question, share, weight or mode that makes
            no sense; no embedder for vectors; or nothing is found.
        InvalidVector: see ``search_knowledge``.
        EmbedderUnavailable: the embedder failed.
    """
    mode = checked_code("mode", mode, SearchMode)
    key = _key(embedder, mode, weights, object_type)
    if not is_number(answered) or not 0 < answered <= 1:
        raise InvalidValue("answered", "must be above 0 and at most 1")
    lists = [_checked("answerable", answerable, mode), _checked("unanswerable", unanswerable, mode)]
    parameters = {
        **key,
        "query_model": key["threshold_model"] or None,
        "query_dimensions": key["model_dimensions"] or None,
        "vector_weight": weights[0],
        "text_weight": weights[1],
    }
    confident, others = (
        [
            session.execute(_CONFIDENCE, {**parameters, **query}).scalar_one()
            for query in _queries(questions, mode, embedder)
        ]
        for questions in lists
    )
    if all(confidence is None for confidence in confident):
        if parameters["query_model"] is not None:
            check_models(session, parameters, [ObjectType(key["object_type"])])
        raise InvalidValue("answerable", "has no question for which anything is found")
    confident, others = _ordered(confident), _ordered(others)
    threshold = _threshold(confident, others, answered)
    session.execute(
        _STORE,
        {
            **key,
            "threshold": threshold,
            "answered": sum(one >= threshold for one in confident) / len(confident),
            "share_refused": sum(one < threshold for one in others) / len(others),
        },
    )
    return threshold


def find_threshold(
    session: Session,
    *,
    embedder: Embedder | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    object_type: ObjectType = ObjectType.KNOWLEDGE,
) -> float | None:
    """What ``calibrate`` has measured for this model, mode and weights; None where nobody has.

    Raises:
        InvalidValue: an unknown mode or type, weights that make no sense, or no embedder for vectors.
    """
    kept = find_calibration(session, embedder=embedder, mode=mode, weights=weights, object_type=object_type)
    return None if kept is None else kept.threshold


def find_calibration(
    session: Session,
    *,
    embedder: Embedder | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    object_type: ObjectType = ObjectType.KNOWLEDGE,
) -> Calibration | None:
    """The same with the shares of the questions that it was measured with.

    Raises:
        InvalidValue: as ``find_threshold``.
    """
    row = session.execute(_FIND, _key(embedder, mode, weights, object_type)).one_or_none()
    return None if row is None else Calibration(**row._mapping)


def _key(
    embedder: Embedder | None, mode: SearchModeCode, weights: tuple[float, float], object_type: ObjectType
) -> dict[str, Any]:
    """Of what a threshold holds for."""
    mode = checked_code("mode", mode, SearchMode)
    check_weights(weights)
    by_vector = mode is not SearchMode.TEXT
    if by_vector and embedder is None:
        raise InvalidValue("embedder", "is needed: a threshold is kept for its model")
    return {
        "object_type": checked_code("object_type", object_type, ObjectType).value,
        "threshold_model": checked_model(embedder) if by_vector and embedder is not None else "",
        "model_dimensions": embedder.dimensions if by_vector and embedder is not None else 0,
        "vector_share": vector_share(mode, weights),
    }


def _checked(field: str, questions: Sequence[Question], mode: SearchMode) -> list[Question]:
    if isinstance(questions, str) or not isinstance(questions, Collection):
        raise InvalidValue(field, "must be a list of questions")
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise InvalidValue(field, f"must have from 1 to {MOST_QUESTIONS:,} questions")
    texts = [
        checked_text(field, one, max_length=MAX_QUERY) if isinstance(one, str) else one for one in questions
    ]
    if mode is not SearchMode.VECTOR and not all(isinstance(one, str) for one in texts):
        raise InvalidValue(field, f"must be texts in {mode} mode")
    return texts


def _queries(
    questions: Sequence[Question], mode: SearchMode, embedder: Embedder | None
) -> list[dict[str, Any]]:
    """What a statement takes of each; texts are embedded a batch at a time."""
    texts = [one for one in questions if isinstance(one, str)]
    vectors: dict[str, list[float]] = {}
    if mode is not SearchMode.TEXT and embedder is not None:
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            if isinstance(embedder, QueryEmbedder):
                vectors.update((one, embed_query(embedder, one)) for one in batch)
            else:
                vectors.update(zip(batch, embed_texts(embedder, batch), strict=True))
    return [
        {
            "query": vectors.get(one) if isinstance(one, str) else checked_vector(one, embedder),
            "query_text": one if isinstance(one, str) and mode is not SearchMode.VECTOR else None,
        }
        for one in questions
    ]


def _ordered(confidences: Sequence[float | None]) -> list[float]:
    """The highest first; a question for which nothing is found is never answered, whatever the threshold."""
    return sorted((-math.inf if one is None else one for one in confidences), reverse=True)


def _threshold(answerable: Sequence[float], unanswerable: Sequence[float], answered: float) -> float:
    # Where too many find nothing, whatever is found is enough.
    lowest = max(
        answerable[math.ceil(answered * len(answerable)) - 1], min(filter(math.isfinite, answerable))
    )
    below = max((one for one in (*answerable, *unanswerable) if one < lowest), default=lowest)
    middle = (lowest + below) / 2
    return middle if middle > below else lowest
