"""What a wheel holds beside the package: the migrations, and what offers the name ``app``.

An installation for development needs neither: the migrations are in the checkout, and ``app`` is there.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = {
    "alembic": "crm_digital_fte/_migrations/alembic",
    "alembic.ini": "crm_digital_fte/_migrations/alembic.ini",
    "scripts/wheel/_names.py": "crm_digital_fte/_names.py",
    "scripts/wheel/crm_digital_fte.pth": "crm_digital_fte.pth",
}


class WheelHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= FILES
