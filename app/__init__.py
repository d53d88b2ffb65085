"""CRM data layer for AI customer-support agents, on PostgreSQL with pgvector."""
