"""The served generator: a registry of promoted generators, a Ray Serve application that draws from them, and its clients."""

import os

import fewgood.execution  # noqa: F401 - sets what Ray reads, before any module here imports it

_ENVIRONMENT = {
    # Our code waits for others or hands work to a thread of its own, so a loop of its own would only cost a hop per message.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
}

for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
