"""One set of modules under two names: ``crm_digital_fte``, which nobody else has, and ``app``.

In a checkout the package is ``app``, and the file ``crm_digital_fte.py`` beside it makes the other name.
Installed, it is ``crm_digital_fte``; there a ``.pth`` file offers ``app`` to whoever has no package of that
name: half of all backends have one, and theirs is always the one that is imported.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

# Every interpreter of the environment reads this file when it starts: it imports as little as can be.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType


class Alias:
    """Finds the modules below ``alias``: they are those of ``package`` themselves, never copies."""

    def __init__(self, alias: str, package: str) -> None:
        self.alias, self.package = alias, package

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        is_ours = sys.modules.get(self.alias) is sys.modules.get(self.package)
        return self.spec(name) if is_ours and name.startswith(f"{self.alias}.") else None

    def spec(self, name: str) -> ModuleSpec | None:
        from importlib.util import find_spec  # noqa: PLC0415

        real = find_spec(self._real(name))
        if real is None:
            return None
        spec = ModuleSpec(name, self, origin=real.origin)  # type: ignore[arg-type]
        spec.submodule_search_locations = real.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Python makes an empty one, which the next step throws away."""

    def exec_module(self, module: ModuleType) -> None:
        from importlib import import_module  # noqa: PLC0415

        # The import system returns what stands here afterwards.
        sys.modules[module.__name__] = import_module(self._real(module.__name__))

    def get_code(self, name: str) -> CodeType | None:
        """For ``python -m app``."""
        from importlib.util import find_spec  # noqa: PLC0415

        real = find_spec(self._real(name))
        return real.loader.get_code(real.name) if real and real.loader else None  # type: ignore[attr-defined]

    def _real(self, name: str) -> str:
        return self.package + name[len(self.alias) :]


class LastResort(Alias):
    """Finds ``alias`` itself where nobody else has a package of that name."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if name != self.alias:
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        return None if any(finder.find_spec(name, None) for finder in later) else self.spec(name)


def alias(name: str, package: str) -> None:
    """From now on what is imported below ``name`` is ``package``'s, where ``name`` is ``package``."""
    # First: Python itself would find our files by the package's path, and make copies.
    sys.meta_path.insert(0, Alias(name, package))


def offer(name: str, package: str) -> None:
    """The same, and ``name`` is ``package`` wherever no other package has that name."""
    # An environment whose lib64 is its lib reads a .pth file twice.
    if not any(isinstance(finder, LastResort) for finder in sys.meta_path):
        alias(name, package)
        sys.meta_path.append(LastResort(name, package))
