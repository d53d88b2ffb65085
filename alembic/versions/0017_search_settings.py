"""Let searches in plain SQL use the index of the vectors, and find a full page under a filter.

Two settings of the database, for its new sessions:

- ``random_page_cost = 1.1``, as memory and solid-state disks have it. With the default of 4 the planner may
  read a whole table of vectors one by one, since it does not count what is stored out of line.
- ``hnsw.iterative_scan = strict_order``: a filtered index scan goes on until the page is full.

A setting that somebody has made stays. Who does not own the database may not change it: then nothing is set,
``crm doctor`` says so, and ``search_objects`` is as fast as ever, since it carries its own settings.

Locks: none on tables.
Reversible: yes.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UPGRADE = """
DO $$
DECLARE
    setting record;
BEGIN
    FOR setting IN
        SELECT * FROM (VALUES ('random_page_cost', '1.1'), ('hnsw.iterative_scan', 'strict_order'))
            AS ours(name, value)
        WHERE NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s
            JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database(),
                unnest(s.setconfig) AS made
            WHERE s.setrole = 0 AND made LIKE ours.name || '=%'
        )
    LOOP
        EXECUTE format('ALTER DATABASE %I SET %s = %L', current_database(), setting.name, setting.value);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'only its owner may change settings of this database; searches in plain SQL may be slow';
END;
$$
"""
DOWNGRADE = """
DO $$
DECLARE
    setting text;
BEGIN
    FOR setting IN
        SELECT split_part(made, '=', 1)
        FROM pg_db_role_setting AS s
        JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database(),
            unnest(s.setconfig) AS made
        WHERE s.setrole = 0 AND made IN ('random_page_cost=1.1', 'hnsw.iterative_scan=strict_order')
    LOOP
        EXECUTE format('ALTER DATABASE %I RESET %s', current_database(), setting);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'only its owner may change settings of this database';
END;
$$
"""


def upgrade() -> None:
    # Loads the extension: who is no superuser may only set parameters that the server knows.
    op.execute("SELECT '[1]'::vector")
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
