# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Health of the worker: ``/metrics`` in Prometheus' text format, and ``/healthz``.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nsn2n._version import __version__
from nsn2n.errors import NSN2NError

__all__ = ["Health", "served_health"]

LONGEST_SILENCE_S = 900.0
"""The worker reports between two steps that it is alive; the longest step forwards a large series."""


@dataclass
class Health:
    """The last report of the worker about itself."""

    queue_length: int = 0
    queue_age_s: float = 0.0
    send_queue_length: int = 0
    send_queue_age_s: float = 0.0
    send_failures: int = 0
    sent: int = 0
    series: Counter[str] = field(default_factory=Counter)
    """How many series entered each state since the worker was started."""
    in_work: bool = False
    trouble: str = "the worker has not reached Orthanc yet"
    """Why there is no progress; empty if all is well."""
    last_step: float = field(default_factory=time.monotonic)

    def why_unwell(self) -> str:
        """Return the reason in one line; empty if the worker is healthy."""
        silence_s = time.monotonic() - self.last_step
        return f"the worker has not reported for {silence_s:.0f} s" if silence_s > LONGEST_SILENCE_S else self.trouble

    def metrics(self) -> str:
        """Return all figures as text."""
        states = {f'{{state="{state}"}}': count for state, count in sorted(self.series.items())}
        families: tuple[tuple[str, str, str, Mapping[str, float]], ...] = (
            ("up", "gauge", "Whether the worker is healthy.", {"": not self.why_unwell()}),
            ("queue_length", "gauge", "Series that may need work.", {"": self.queue_length}),
            ("queue_age_seconds", "gauge", "How long the oldest of them has waited.", {"": self.queue_age_s}),
            ("in_work", "gauge", "Series being denoised.", {"": self.in_work}),
            ("send_queue_length", "gauge", "New series not yet forwarded to --send-to.", {"": self.send_queue_length}),
            ("send_queue_age_seconds", "gauge", "How long the oldest has waited.", {"": self.send_queue_age_s}),
            ("sent_total", "counter", "New series forwarded.", {"": self.sent}),
            ("send_failures_total", "counter", "Failed tries to forward one.", {"": self.send_failures}),
            ("series_total", "counter", "Series that entered a state since the start.", states),
            ("info", "gauge", "The program.", {f'{{version="{__version__}"}}': 1}),
        )
        lines = []
        for name, kind, about, values in families:
            lines += [f"# HELP nsn2n_node_{name} {about}", f"# TYPE nsn2n_node_{name} {kind}"]
            lines += [f"nsn2n_node_{name}{labels} {float(value):.15g}" for labels, value in values.items()]
        return "\n".join([*lines, ""])


@contextmanager
def served_health(health: Health, address: tuple[str, int]) -> Iterator[int]:
    """Serve on an address until the block ends, and yield the port.

    Raises
    ------
    NSN2NError
        If another program, such as another node, listens there already.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            unwell = health.why_unwell()
            answers = {
                "/metrics": (HTTPStatus.OK, health.metrics()),
                "/healthz": (HTTPStatus.SERVICE_UNAVAILABLE if unwell else HTTPStatus.OK, f"{unwell or 'ok'}\n"),
            }
            status, text = answers.get(self.path, (HTTPStatus.NOT_FOUND, "/metrics or /healthz\n"))
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            body = text.encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass  # a line for each request would drown out everything else

    try:
        server = ThreadingHTTPServer(address, Handler)
    except OSError as error:
        raise NSN2NError(
            f"--listen must be a free address; got {error.strerror} at {address[0]}:{address[1]}. Stop the"
            " other node, or choose another port."
        ) from error
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
