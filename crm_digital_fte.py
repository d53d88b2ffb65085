"""The installed package's name, in a checkout: it leads to ``app``, see ``scripts/wheel/_names.py``."""

import runpy
import sys
from pathlib import Path

import app

names = runpy.run_path(str(Path(__file__).parent / "scripts" / "wheel" / "_names.py"))
names["alias"](__name__, "app")
sys.modules[__name__] = app
