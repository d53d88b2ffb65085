"""Two customers become one, and can become two again."""

from __future__ import annotations

from .lookups import get_merge
from .merges import merge, unmerge
from .plans import current_customer_id, plan_merge

__all__ = ["current_customer_id", "get_merge", "merge", "plan_merge", "unmerge"]
