"""CRM data layer for AI customer-support agents, on PostgreSQL with pgvector.

PYTEST_DONT_REWRITE: installed, this package is imported before pytest starts (see ``_names``).
"""
