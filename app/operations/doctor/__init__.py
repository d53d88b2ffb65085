"""One examination of a database: after a deployment, and from cron.

A check looks for one kind of fault, and says what it is, how many there are and how it is mended. Checks
only read; what can be mended without a decision is mended when that is asked for.
"""

from __future__ import annotations

from .checks import CHECKS
from .examination import examine
from .patient import Check, Examined, Faults, Finding, Patient, Report, Severity

__all__ = ["CHECKS", "Check", "Examined", "Faults", "Finding", "Patient", "Report", "Severity", "examine"]
