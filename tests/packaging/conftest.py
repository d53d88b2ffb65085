"""One wheel and one environment for the whole run, whatever the number of test processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("CRM_", "PYTHON", "DATABASE_"))
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run() -> Run:
    def run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        arguments = [str(part) for part in command]
        return subprocess.run(
            arguments, cwd=cwd, env=CLEAN | env, capture_output=True, text=True, timeout=600, check=False
        )

    return run


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all test processes of this run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "packaging"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Whether the folder is still to be made; other processes wait until it is."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder.with_suffix(".ready")
        yield not ready.exists()
        ready.touch()


@pytest.fixture(scope="session")
def wheel(common: Path, run: Run) -> Path:
    folder = common / "wheel"
    with once(folder) as is_first:
        if is_first:
            folder.mkdir()
            built = run(
                sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, ROOT, cwd=folder
            )
            assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def programs(common: Path, wheel: Path, run: Run) -> Path:
    """An environment that has the wheel, and what it needs from the tests' own; its folder of programs."""
    folder = common / "environment"
    with once(folder) as is_first:
        if is_first:
            folder.mkdir()
            _make_environment(folder, wheel, run)
    return folder / "bin"


def _make_environment(folder: Path, wheel: Path, run: Run) -> None:
    assert run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder).returncode == 0
    python = folder / "bin" / "python"
    installed = run(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=folder
    )
    assert installed.returncode == 0, installed.stderr
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    # Read after our own .pth file, as that of a package that another one needs would be.
    Path(site.stdout.strip(), "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
