"""Modules of benches/, which are no package, for tests of them and with them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

BENCHES = Path(__file__).resolve().parent.parent / "benches"


def bench_module(name: str) -> Any:
    """A module of benches/ by its name."""
    sys.path.insert(0, str(BENCHES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHES))
