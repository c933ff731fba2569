"""Charts to SVG in a process of its own, which starts while the numbers are still being computed.

vl-convert keeps the interpreter's lock while it draws and needs a second for its first chart, so that another process
draws while this one computes. Run as a script, this file is that process: a line of JSON in, a line of JSON out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

WARM_UP = {
    "mark": "text",
    "data": {"values": [{"a": "b"}]},
    "encoding": {"text": {"field": "a", "type": "nominal"}},
}


class Renderer:
    """Draws Vega-Lite charts in the background, in the order in which they come."""

    def __init__(self) -> None:
        from importlib.util import find_spec

        from .._errors import SignoiseError

        for module, package in (("altair", "Altair"), ("vl_convert", "vl-convert")):
            if find_spec(module) is None:
                raise SignoiseError(
                    f"the HTML report is drawn by Altair and vl-convert; {package} is not installed: "
                    "pip install 'signoise[report]'"
                )
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers: list[dict[str, str]] = []
        self._sent = 0
        # Answers are taken as they come: a full pipe would stop both sides.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._answers.extend(json.loads(line) for line in self._process.stdout)

    def send(self, chart: dict[str, Any]) -> None:
        """Hand over a chart; `finish` returns them in this order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(chart) + "\n")
        self._process.stdin.flush()
        self._sent += 1

    def finish(self) -> list[str]:
        """Wait for all charts and return their SVG."""
        from .._errors import InternalError

        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join()
        self._process.wait()
        broken = [answer["error"] for answer in self._answers if "error" in answer]
        if broken or len(self._answers) < self._sent:
            said = broken[0] if broken else f"the drawing process ended with code {self._process.returncode}"
            raise InternalError(f"a figure could not be drawn: {said}")
        return [answer["svg"] for answer in self._answers]

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def _serve() -> None:
    import vl_convert

    vl_convert.vegalite_to_svg(WARM_UP)
    for line in sys.stdin:
        try:
            answer = {"svg": vl_convert.vegalite_to_svg(line)}
        except Exception as error:
            answer = {"error": " ".join(str(error).split())[:300]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
