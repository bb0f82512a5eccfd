"""A local cluster of real hosts: Ray on network namespaces of this machine, each with its own address, name and home.

    python -m fewgood_cluster.local --hosts 3 -- fewgood sweep study.yaml

runs the command on the head of a cluster of three hosts whose shared store is an S3 API, and removes all of it at the end.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from fewgood.errors import FewgoodError
from fewgood_cluster.hosts import LocalCluster

__all__ = ["LocalCluster", "main"]

_END_SECONDS = 15.0


class _Ended(Exception):
    """SIGTERM or SIGHUP arrived."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command on the head of a local cluster; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fewgood_cluster.local", description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=3, help="how many, the head included")
    parser.add_argument("--cpus", default="", help="CPUs of each host, e.g. 1,1,1 (default: one each)")
    parser.add_argument("--folder", type=Path, help="keep the hosts' homes and logs here")
    parser.add_argument("--notice", type=float, default=15.0, help="seconds until a silent host is taken for dead")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --: what runs on the head")
    given = parser.parse_args(arguments)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        parser.error("give a command after --")
    if not all(word.strip().isdigit() for word in given.cpus.split(",") if given.cpus):
        parser.error(f"--cpus is {given.cpus!r}: give whole numbers separated by commas")
    cpus = [int(word) for word in given.cpus.split(",")] if given.cpus else None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    cluster: LocalCluster | None = None
    try:
        cluster = LocalCluster(hosts=given.hosts, cpus=cpus, folder=given.folder, notice_s=given.notice)
        cluster.up()
        hosts = ", ".join(f"{name} {address}" for name, address in cluster.addresses.items())
        sys.stderr.write(f"local cluster: {hosts}; store {cluster.store_url}\n")
        return _run(cluster, command)
    except FewgoodError as error:
        sys.stderr.write(f"fewgood_cluster.local: {error}\n")
        return 2
    except (KeyboardInterrupt, _Ended):
        sys.stderr.write("fewgood_cluster.local: interrupted\n")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if cluster is not None:
            cluster.down()


def _run(cluster: LocalCluster, command: Sequence[str]) -> int:
    process = cluster.popen(cluster.hosts[0], command)
    try:
        status: int = process.wait()
    except (KeyboardInterrupt, _Ended) as reason:
        # Ctrl-C has reached the command too, which shares the terminal; a signal sent to this process has not.
        if isinstance(reason, _Ended) or not _ends(process):
            process.terminate()
            if not _ends(process):
                process.kill()
                process.wait()
        raise
    return status if status >= 0 else 128 - status


def _ends(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(number: int, _frame: FrameType | None) -> None:
    raise _Ended(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
