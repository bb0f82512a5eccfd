"""Where stages run: the only folder that imports Ray.

Ray reads its environment when it is first imported, so what fewgood wants of it is set here, before any module of this
folder imports it. A variable that is set already is left as it is.
"""

import os

__all__ = ["keep_to_loopback"]

_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ctrl-C ends the sweep at once: what runs is started again from its artifacts.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}

for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)


def keep_to_loopback(address: str | None) -> None:
    """Before Ray is imported: unless a cluster is joined, all of Ray's ports are bound to 127.0.0.1.

    Ray takes 127.0.0.1 for a host's address only where it thinks that no cluster of several hosts can be made, which is what
    this variable says to it; otherwise its metrics and node managers listen on every address of the machine.
    """
    if address is None and "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
