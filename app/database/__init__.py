"""Engines, sessions, and the one place that commits."""

from __future__ import annotations

from .engines import make_async_engine, make_async_session_factory, make_engine, make_session_factory
from .health import Health, probe, probe_async
from .replicas import AsyncEngines, Engines, make_async_engines, make_engines
from .slow_statements import log_slow_statements, without_values
from .transactions import RETRYABLE, is_retryable, transaction, transaction_async
from .urls import normalize_url, require_tls

__all__ = [
    "RETRYABLE",
    "AsyncEngines",
    "Engines",
    "Health",
    "is_retryable",
    "log_slow_statements",
    "make_async_engine",
    "make_async_engines",
    "make_async_session_factory",
    "make_engine",
    "make_engines",
    "make_session_factory",
    "normalize_url",
    "probe",
    "probe_async",
    "require_tls",
    "transaction",
    "transaction_async",
    "without_values",
]
