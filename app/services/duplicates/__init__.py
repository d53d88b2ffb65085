"""Customers who may be one person, with the evidence for and against it."""

from __future__ import annotations

from .candidates import DEFAULT_MIN_SCORE, find_duplicates, reject_duplicate

__all__ = ["DEFAULT_MIN_SCORE", "find_duplicates", "reject_duplicate"]
