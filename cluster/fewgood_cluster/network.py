"""Hosts of one machine: network namespaces with their own addresses and names, joined by a bridge.

A network's bridge carries the process that owns it in its alias, so that what a killed owner left behind is found and
removed by the next one. Every process of a host lives in the host's namespace: the kernel is the list of processes.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fewgood.errors import ExecutionError

__all__ = ["Network", "missing_for_namespaces", "remove_leftovers"]

_PREFIX = "fewgood"
_SECOND_OCTET = 77
_FIRST_HOST = 10
_ETC = Path("/etc/netns")
_KILL_SECONDS = 60.0


def missing_for_namespaces() -> str | None:
    """What this machine lacks for hosts in network namespaces, and what to do about it; None if nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root: run it as root (sudo), or in a machine of your own"
    for tool, package in (("ip", "iproute2"), ("unshare", "util-linux"), ("hostname", "hostname")):
        if shutil.which(tool) is None:
            return f"the command `{tool}` is missing: apt-get install {package}"
    probe = f"{_PREFIX}-probe-{os.getpid()}"
    try:
        _ip("netns", "add", probe)
        _ip("netns", "delete", probe)
    except ExecutionError as error:
        return f"this machine allows no network namespaces ({error}): in a container, start it with --privileged"
    return None


class Network:
    """A bridge and its hosts. Made by `Network.create`, removed by `remove`."""

    def __init__(self, number: int, hosts: Sequence[str]) -> None:
        self.number = number
        self.hosts = tuple(hosts)

    @classmethod
    def create(cls, hosts: Sequence[str]) -> Network:
        """Make a network of hosts on a free 10.77.x.0/24; leftovers of killed owners are removed first.

        Raises:
            ExecutionError: if this machine cannot have network namespaces, or no range is free.
        """
        missing = missing_for_namespaces()
        if missing:
            raise ExecutionError(f"a local cluster of hosts cannot be made here: {missing}")
        with _lock():
            _remove_leftovers()
            taken = _taken()
            number = next((n for n in range(256) if not any(_range(n).overlaps(range_) for range_ in taken)), None)
            if number is None:
                raise ExecutionError(
                    f"no range 10.{_SECOND_OCTET}.0.0/24 to 10.{_SECOND_OCTET}.255.0/24 is free: see `ip route`"
                )
            network = cls(number, hosts)
            _ip("link", "add", network.bridge, "type", "bridge")
            _ip("link", "set", network.bridge, "alias", f"{os.getpid()} {_started(os.getpid())}")
            _ip("address", "add", f"{network.gateway}/24", "dev", network.bridge)
            _ip("link", "set", network.bridge, "up")
        try:
            network.scratch.mkdir(mode=0o700)
            for host in network.hosts:
                network._add(host)
        except BaseException:
            network.remove()
            raise
        return network

    @property
    def bridge(self) -> str:
        """The bridge's name on this machine."""
        return f"{_PREFIX}{self.number}"

    @property
    def gateway(self) -> str:
        """This machine's own address on the bridge."""
        return str(_range(self.number)[1])

    @property
    def scratch(self) -> Path:
        """A folder with a short path for this network's sockets (a socket's path has at most 107 bytes)."""
        return _scratch(self.number)

    def namespace(self, host: str) -> str:
        """The name of a host's namespace."""
        return f"{self.bridge}-{self.hosts[self._index(host)]}"

    def address(self, host: str) -> str:
        """A host's address."""
        return str(_range(self.number)[_FIRST_HOST + self._index(host)])

    def inside(self, host: str, argv: Sequence[str]) -> list[str]:
        """The words that run `argv` on a host: in its namespace, under its name, with the same process id throughout."""
        named = ["unshare", "--uts", "--", "sh", "-c", 'hostname "$0" && exec "$@"', host, *argv]
        return ["ip", "netns", "exec", self.namespace(host), *named]

    def cut(self, host: str) -> None:
        """Take a host off the network, as a pulled cable does: what it sends and is sent is lost."""
        _ip("link", "set", self._port(host), "down")

    def mend(self, host: str) -> None:
        """Put a host that was cut off back on the network."""
        _ip("link", "set", self._port(host), "up")

    def processes(self, host: str) -> list[int]:
        """The process ids that run on a host."""
        return _processes(self.namespace(host))

    def kill(self, host: str) -> None:
        """End every process of a host at once (SIGKILL), as a power cut does.

        Raises:
            ExecutionError: if some process is still there after a minute.
        """
        _kill(self.namespace(host))

    def remove(self) -> None:
        """End all processes of all hosts and remove the hosts, the bridge and the scratch folder."""
        with _lock():
            _remove(self.number)

    def _index(self, host: str) -> int:
        if host not in self.hosts:
            raise ExecutionError(f"host {host!r} is not one of {', '.join(self.hosts)}")
        return self.hosts.index(host)

    def _port(self, host: str) -> str:
        return f"{self.bridge}p{self._index(host)}"

    def _add(self, host: str) -> None:
        namespace = self.namespace(host)
        _ip("netns", "add", namespace)
        # `ip netns exec` shows a host this file as its own /etc/hosts: names resolve to addresses that others can reach.
        folder = _ETC / namespace
        folder.mkdir(parents=True, exist_ok=True)
        known = "".join(f"{self.address(other)} {other}\n" for other in self.hosts)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
        _ip("link", "add", self._port(host), "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", self._port(host), "master", self.bridge, "up")
        _ip("-n", namespace, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")


def remove_leftovers() -> list[int]:
    """Remove the networks whose owner was killed; returns their numbers."""
    with _lock():
        return _remove_leftovers()


def _remove_leftovers() -> list[int]:
    owners = {}
    for link in json.loads(_ip("-json", "link", "show", "type", "bridge") or "[]"):
        name = str(link.get("ifname", ""))
        if name.startswith(_PREFIX) and name.removeprefix(_PREFIX).isdigit():
            owners[int(name.removeprefix(_PREFIX))] = str(link.get("ifalias", ""))
    gone = []
    for number, owner in owners.items():
        pid, _, started = owner.partition(" ")
        if not (pid.isdigit() and started and _started(int(pid)) == started):
            _remove(number)
            gone.append(number)
    return gone


def _remove(number: int) -> None:
    """Remove a network's parts, in an order that leaves its bridge, by which it is found, for the end."""
    start = f"{_PREFIX}{number}-"
    namespaces = [name for name in _namespaces() if name.startswith(start)]
    for namespace in namespaces:
        _kill(namespace)
    for port in Path("/sys/class/net").glob(f"{_PREFIX}{number}p*"):
        _ip("link", "delete", port.name)  # the kernel removes a namespace's own end only some time after the namespace
    for namespace in namespaces:
        _ip("netns", "delete", namespace)
        shutil.rmtree(_ETC / namespace, ignore_errors=True)
    shutil.rmtree(_scratch(number), ignore_errors=True)
    if Path(f"/sys/class/net/{_PREFIX}{number}").exists():
        _ip("link", "delete", f"{_PREFIX}{number}")


def _kill(namespace: str) -> None:
    deadline = time.monotonic() + _KILL_SECONDS
    while found := _processes(namespace):
        if time.monotonic() > deadline:
            raise ExecutionError(f"processes {found} of host {namespace} do not end: see `ip netns pids {namespace}`")
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended between being listed and being killed
        time.sleep(0.05)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()]


def _processes(namespace: str) -> list[int]:
    return [int(pid) for pid in _ip("netns", "pids", namespace).split()]


def _range(number: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"10.{_SECOND_OCTET}.{number}.0/24")


def _taken() -> list[ipaddress.IPv4Network]:
    """The ranges that this machine routes somewhere already."""
    words = [str(route.get("dst", "")) for route in json.loads(_ip("-json", "-4", "route", "show") or "[]")]
    return [ipaddress.IPv4Network(word) for word in words if word and word != "default"]


def _scratch(number: int) -> Path:
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{number}"


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks, which tells it from a later one with the same id; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()[19]


@contextmanager
def _lock() -> Iterator[None]:
    """One process at a time makes or removes networks on this machine."""
    with Path("/run/lock/fewgood-cluster").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ip(*words: str) -> str:
    done = subprocess.run([shutil.which("ip") or "ip", *words], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ExecutionError(f"`ip {' '.join(words)}` failed: {' '.join(done.stderr.split())}")
    return done.stdout
