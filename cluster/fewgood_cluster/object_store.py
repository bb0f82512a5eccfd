"""The S3 API of a local cluster: moto's server on a host of its own, with one bucket, its contents in memory."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from fewgood.errors import ExecutionError
from fewgood_cluster.network import Network

__all__ = ["BUCKET", "HOST", "ObjectStore"]

HOST = "store"
"""The name of the store's host."""

BUCKET = "fewgood"

_PORT = 5000
_READY_SECONDS = 60.0


class ObjectStore:
    """An S3 server that runs on the host `HOST` of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._endpoint = f"{network.address(HOST)}:{_PORT}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The store as fewgood names one: bucket, folder, and how to reach its endpoint."""
        return f"s3://{BUCKET}/fewgood?scheme=http&endpoint_override={self._endpoint}"

    @property
    def environment(self) -> dict[str, str]:
        """Credentials and region for the store; it accepts any, the client needs some."""
        return {
            "AWS_ACCESS_KEY_ID": "fewgood",
            "AWS_SECRET_ACCESS_KEY": "fewgood-local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @staticmethod
    def check() -> None:
        """Refuse where the server is not installed.

        Raises:
            ExecutionError: if moto's server cannot be imported.
        """
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            raise ExecutionError("the local cluster's S3 server is not installed: pip install 'moto[server]'")

    def start(self, log: IO[bytes]) -> None:
        """Start the server; `wait` says when it answers."""
        words = [sys.executable, "-m", "moto.server", "-H", self._network.address(HOST), "-p", str(_PORT)]
        argv = self._network.inside(HOST, words)
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603

    def wait(self, log: Path) -> None:
        """Wait until the server answers, and make the bucket.

        Raises:
            ExecutionError: if the server ends or does not answer within a minute.
        """
        deadline = time.monotonic() + _READY_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            request = urllib.request.Request(f"http://{self._endpoint}/{BUCKET}", method="PUT", data=b"")
            try:
                with opener.open(request, timeout=5):
                    return
            except OSError as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise ExecutionError(
                        f"the local cluster's S3 server does not answer ({error}): see {log}"
                    ) from error
            time.sleep(0.2)

    def reap(self) -> None:
        """Collect the server's process after its host was killed."""
        if self._process is not None:
            self._process.wait()
            self._process = None
