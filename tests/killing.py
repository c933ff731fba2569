"""An ingest in a process of its own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

INGEST = textwrap.dedent(
    """
    import os, sys
    import signoise as sn
    import signoise._store._ingest as module
    module.BATCH_BYTES = module.BATCH_FILES = 1  # a commit a file
    print("ready", flush=True)
    sn.ingest(sys.argv[1], sys.argv[2])
    print("done", flush=True)
    """
)


def run_ingest(source: Path, target: Path, after: float | None) -> bool:
    """Ingest in a process of its own; killed `after` seconds from its start. True if it ended by itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", INGEST, str(source), str(target)],
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "POLARS_MAX_THREADS": "1",
        },
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    if after is not None:
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
    said = process.stdout.read()
    process.wait()
    process.stdout.close()
    return b"done" in said
