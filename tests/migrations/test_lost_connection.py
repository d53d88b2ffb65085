"""A connection that is lost in the middle of an upgrade."""

from __future__ import annotations

import pytest

from app import migrations

# What is tested here does not depend on the server's major.
pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
# Ends the connection in the middle of a step.
ENDING = """
    CREATE FUNCTION end_connection() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_terminate_backend(pg_backend_pid()) FROM pg_event_trigger_ddl_commands()
        WHERE object_identity = 'public.identity_events';
    END $$;
    CREATE EVENT TRIGGER ending ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
        EXECUTE FUNCTION end_connection();
"""


def test_a_connection_that_is_lost_is_one_line_and_the_next_job_goes_on(server, alembic):
    url = server.empty()
    server.execute(url, ENDING)

    done = alembic("upgrade", "head", url=url)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "crm: the connection to the database server was lost"
    assert migrations.current(url) == "0007"
    server.execute(url, "DROP EVENT TRIGGER ending; DROP FUNCTION end_connection()")
    migrations.upgrade(url)
    migrations.check(url)
