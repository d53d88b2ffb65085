"""The tests' database has the CRM's tables already; ours are made once, and each test is undone."""

from __future__ import annotations

import pytest

from invoices.migrating import upgrade


@pytest.fixture(scope="session", autouse=True)
def our_tables(crm_database_url: str) -> None:
    upgrade(crm_database_url)
