"""Alembic's entry for our tables."""

from alembic import context
from sqlalchemy.pool import NullPool

from crm_digital_fte import migrations
from crm_digital_fte.database import make_engine
from crm_digital_fte.models import Base
from invoices.models import Own

engine = make_engine(context.config.attributes.get("url") or migrations.resolve_url(), poolclass=NullPool)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=[Own.metadata, Base.metadata],  # theirs, so that foreign keys can name their tables
        include_object=migrations.is_not_ours,  # autogenerate neither drops nor makes their tables
        version_table="invoices_version",
    )
    with context.begin_transaction():
        context.run_migrations()
