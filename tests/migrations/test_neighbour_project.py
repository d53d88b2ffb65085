"""A project with models and an Alembic history of its own in our database, set up as documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.services import merging
from app.testing import CustomerFactory, bound_to

# What is tested here does not depend on the server's major.
pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
CHECKOUT = Path(__file__).resolve().parents[2]
(ENV,) = re.findall(
    r"^```py\n(from alembic import context\n.*?)^```",
    (CHECKOUT / "docs" / "operations.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
ORDERS = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.models import Customer


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[object] = mapped_column(ForeignKey(Customer.id))
"""


class Project:
    """The application's folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        (folder / "orders.py").write_text(ORDERS)
        self.alembic("init", "history")
        (folder / "history" / "env.py").write_text(ENV)

    def alembic(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "alembic", *arguments],
            cwd=self.folder,
            env=os.environ | {"DATABASE_URL": self.url, "PYTHONPATH": f"{self.folder}{os.pathsep}{CHECKOUT}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def generate(self) -> str:
        self.alembic("revision", "--autogenerate", "-m", "orders")
        (script,) = (self.folder / "history" / "versions").glob("*_orders.py")
        return script.read_text()


@pytest.mark.soak
def test_its_history_and_ours_stay_clean_beside_each_other_and_its_rows_follow_a_merge(
    server, tmp_path, alembic
):
    project = Project(tmp_path, server.at("head"))
    script = project.generate()
    assert set(re.findall(r"op\.(\w+)\('?(\w*)", script)) == {
        ("create_table", "orders"),
        ("drop_table", "orders"),
    }
    assert re.search(r"ForeignKeyConstraint\(\['customer_id'\], \['customers\.id'\]", script)
    project.alembic("upgrade", "head")
    engine = make_engine(project.url, poolclass=NullPool, allow_insecure_tls=True)
    with Session(engine) as session, session.begin(), bound_to(session):
        kept, absorbed = CustomerFactory().id, CustomerFactory().id
        session.execute(text("INSERT INTO orders VALUES (1, :customer)"), {"customer": absorbed})
        merging.merge(session, kept, absorbed, reason="one person", actor="human:7")
        assert session.scalar(text("SELECT customer_id FROM orders")) == kept

    assert "No new upgrade operations" in project.alembic("check")
    # In the other direction: Alembic's own look at our models, and ours.
    ours = alembic("check", url=project.url)
    assert (ours.returncode, "No new upgrade operations" in ours.stdout) == (0, True), ours.stderr
    migrations.check(project.url)
    assert server.one(project.url, "SELECT count(*) FROM orders_version") == 1
    assert migrations.current(project.url) == migrations.head()
