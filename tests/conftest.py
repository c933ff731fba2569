"""Where the shared reference data is, and how tests say that it is not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, and no verdict by the clock of a busy machine.
settings.register_profile(
    "signoise",
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.load_profile("signoise")

ROOT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path:
    return Path(os.environ.get("SIGNOISE_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    if not (folder / "oracles").is_dir():
        pytest.skip(f"no shared reference data at {folder}; set SIGNOISE_SHARED")
    return folder


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Any:
    def load(name: str) -> dict[str, Any]:
        return json.loads((shared / "oracles" / f"{name}.json").read_text())["results"]

    return load
