"""A Ray cluster on hosts of this machine, each with its own address, name and home, that can be cut off and killed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fewgood.errors import ExecutionError
from fewgood_cluster import object_store
from fewgood_cluster.network import Network
from fewgood_cluster.object_store import ObjectStore

__all__ = ["LocalCluster", "host_names"]

_PORT = 6379
_OBJECT_STORE_BYTES = 128 * 2**20
_START_SECONDS = 180.0
_FAILURES = 3


def host_names(hosts: int) -> tuple[str, ...]:
    """The names of a cluster's hosts: `head`, `worker1`, `worker2` and so on."""
    return ("head", *(f"worker{number}" for number in range(1, hosts)))


class LocalCluster:
    """A Ray cluster on hosts of this machine, with token authentication; a context manager.

    Attributes:
        hosts: Their names, the head first.
        network: The hosts' network; it also has the store's host, `store`.
    """

    def __init__(
        self,
        *,
        hosts: int = 3,
        cpus: Sequence[int] | None = None,
        folder: Path | None = None,
        notice_s: float = 15.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a cluster; entering the context starts it.

        Args:
            hosts: How many, the head included.
            cpus: CPUs that each host offers to Ray; one each if None.
            folder: Where the hosts' folders are: `FOLDER/HOST/home` is the home of a host, and what is there already is kept;
                the logs of Ray are put into `FOLDER/HOST/logs` at the end. None uses a folder that is removed at the end.
            notice_s: Seconds until Ray takes a host that does not answer for dead (Ray's own default is about 30).
            environment: Variables that every host has besides the cluster's own.

        Raises:
            ExecutionError: if the numbers cannot be meant, or moto's server is not installed.
        """
        cpus = tuple(cpus or (1,) * hosts)
        if not 1 <= hosts <= 100:
            raise ExecutionError(f"hosts is {hosts}, allowed is 1 to 100")
        if len(cpus) != hosts or min(cpus) < 0:
            raise ExecutionError(f"cpus is {list(cpus)}: give {hosts} numbers of at least 0, one for each host")
        if notice_s < 1:
            raise ExecutionError(f"notice_s is {notice_s}, allowed is 1 second or more")
        ObjectStore.check()
        self.hosts = host_names(hosts)
        self._cpus = dict(zip(self.hosts, cpus, strict=True))
        self._folder = None if folder is None else folder.absolute()
        self._notice_s = notice_s
        self._extra = dict(environment or {})
        self._token = secrets.token_hex(32)
        self._network: Network | None = None
        self._store: ObjectStore | None = None

    def __enter__(self) -> LocalCluster:
        """Start the cluster."""
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the cluster."""
        self.down()

    def up(self) -> None:
        """Make the hosts, start the store, the head and the workers; on an error, remove what was made.

        Raises:
            ExecutionError: if this machine cannot have such hosts, or Ray does not start on one.
        """
        self._network = Network.create((*self.hosts, object_store.HOST))
        try:
            self._store = ObjectStore(self._network)
            log = self.folder(object_store.HOST) / "server.log"
            with log.open("wb") as file:
                self._store.start(file)
            self._wait(self._launch(self.hosts[:1], until_open=True) | self._launch(self.hosts[1:]))
            self._store.wait(log)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End every process of every host and remove the hosts; may be called twice.

        Raises:
            ExecutionError: if a process does not end; all others are ended then, and the hosts are left.
        """
        if self._network is None:
            return
        stuck = []
        for host in self.network.hosts:
            try:
                self.network.kill(host)
            except ExecutionError as error:  # the other hosts are ended all the same
                stuck.append(str(error))
        if self._store is not None:
            self._store.reap()
        if self._folder is not None:
            for host in self.hosts:
                self._keep_logs(host)
        if stuck:
            raise ExecutionError("; ".join(stuck))
        self._network.remove()
        self._network = self._store = None

    @property
    def network(self) -> Network:
        """The hosts' network.

        Raises:
            ExecutionError: if the cluster is not up.
        """
        if self._network is None:
            raise ExecutionError("the local cluster is not up: use it as a context manager, or call up()")
        return self._network

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each host, by name."""
        return {host: self.network.address(host) for host in self.hosts}

    @property
    def address(self) -> str:
        """The cluster's address, as `RAY_ADDRESS` has it."""
        return f"{self.network.address(self.hosts[0])}:{_PORT}"

    @property
    def store_url(self) -> str:
        """The shared store, as `FEWGOOD_STORE` has it."""
        return ObjectStore(self.network).url

    def folder(self, host: str) -> Path:
        """A host's own folder; made if it is not there."""
        made = (self._folder or self.network.scratch / "folders") / host
        made.mkdir(parents=True, exist_ok=True)
        return made

    def home(self, host: str) -> Path:
        """A host's own home, its `FEWGOOD_HOME`."""
        return self.folder(host) / "home"

    def environment(self, host: str) -> dict[str, str]:
        """The environment of what runs on a host: this process's, without its Ray, proxies and home, and the cluster's own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "AWS_", "FEWGOOD_")) and not name.lower().endswith("_proxy")
        }
        own = {
            "RAY_ADDRESS": self.address,  # also for Ray's own processes: they would look at all processes of the machine
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "FEWGOOD_HOME": str(self.home(host)),
            "FEWGOOD_STORE": self.store_url,
        }
        return {**kept, **ObjectStore(self.network).environment, **own, **self._extra}

    def popen(self, host: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any) -> Any:
        """Start a command on a host as a `subprocess.Popen`; `env` is added to the host's environment."""
        full = {**self.environment(host), **(env or {})}
        return subprocess.Popen(self.network.inside(host, argv), env=full, **options)  # noqa: S603

    def run(self, host: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any) -> Any:
        """Run a command on a host to its end, as `subprocess.run` does; `env` is added to the host's environment."""
        full = {**self.environment(host), **(env or {})}
        options.setdefault("check", False)
        return subprocess.run(self.network.inside(host, argv), env=full, **options)  # noqa: S603

    def cut(self, host: str) -> None:
        """Take a host off the network. Ray notices within `notice_s` and takes it for dead."""
        self.network.cut(host)

    def mend(self, host: str) -> None:
        """Put a host back on the network. One that Ray took for dead ends its Ray by itself: `boot` starts it again."""
        self.network.mend(host)

    def kill(self, host: str) -> None:
        """End every process of a host at once, Ray's and any command's."""
        self.network.kill(host)

    def boot(self, *hosts: str) -> None:
        """Start Ray on some hosts again, after `kill`, or after Ray took them for dead."""
        for host in hosts:
            self.network.kill(host)
        self._wait(self._launch(hosts))

    def _launch(self, hosts: Sequence[str], *, until_open: bool = False) -> dict[str, subprocess.Popen[bytes]]:
        """Run `ray start` on some hosts at once, and wait until the head's port is open if asked to."""
        started: dict[str, subprocess.Popen[bytes]] = {}
        for host in hosts:
            self.home(host).mkdir(exist_ok=True)
            argv = self.network.inside(host, self._ray_start(host))
            with (self.folder(host) / "start.log").open("wb") as log:
                started[host] = subprocess.Popen(  # noqa: S603
                    argv, env=self.environment(host), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        head = (self.network.address(self.hosts[0]), _PORT)
        deadline = time.monotonic() + _START_SECONDS
        while (
            until_open and time.monotonic() < deadline and all(process.poll() is None for process in started.values())
        ):
            try:
                socket.create_connection(head, timeout=1).close()
            except OSError:
                time.sleep(0.1)  # it is not up yet; `_wait` says so if it never is
            else:
                break
        return started

    def _wait(self, started: Mapping[str, subprocess.Popen[bytes]]) -> None:
        """Wait until `ray start` has ended on all hosts.

        Raises:
            ExecutionError: with the last lines of what it printed, if Ray does not start on one.
        """
        for host, process in started.items():
            try:
                status: int | str = process.wait(timeout=_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                status = f"nothing within {_START_SECONDS:.0f} s"
            if status != 0:
                said = " ".join((self.folder(host) / "start.log").read_text(errors="replace").split())
                raise ExecutionError(f"`ray start` on host {host} gave {status}: {said[-800:]}")

    def _ray_start(self, host: str) -> list[str]:
        address = self.network.address(host)
        words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
        words += [
            f"--node-ip-address={address}",
            f"--node-name={host}",
            f"--num-cpus={self._cpus[host]}",
            "--num-gpus=0",
        ]
        words += [f"--object-store-memory={_OBJECT_STORE_BYTES}", f"--temp-dir={self.network.scratch / host}"]
        if host != self.hosts[0]:
            return [*words, f"--address={self.address}"]
        step_ms = round(1000 * self._notice_s / (2 * _FAILURES))
        health = {
            "health_check_initial_delay_ms": step_ms,
            "health_check_period_ms": step_ms,
            "health_check_timeout_ms": step_ms,
            "health_check_failure_threshold": _FAILURES,
        }
        words += ["--head", f"--port={_PORT}", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        return [*words, f"--system-config={json.dumps(health)}"]

    def _keep_logs(self, host: str) -> None:
        logs = self.network.scratch / host / "session_latest" / "logs"
        if logs.is_dir():
            shutil.copytree(logs, self.folder(host) / "logs", dirs_exist_ok=True, ignore_dangling_symlinks=True)
