"""How many trials fit on a cluster at once, so that a study that can never be scheduled is refused instead of waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fewgood.errors import ExecutionError
from fewgood.execution.study import Study

__all__ = ["Host", "concurrency", "fits"]

_SLACK = 1e-9


@dataclass(frozen=True)
class Host:
    """A living host of a cluster."""

    node: str
    """Ray's name for it."""
    address: str
    cpus: float
    gpus: float


def concurrency(study: Study, hosts: Sequence[Host]) -> int:
    """Trials that run at once: as many as fit with all that they may need, at most what the study says.

    Raises:
        ExecutionError: if not even one fits; the message has the numbers and the settings to change.
    """
    asked = study.resources.concurrent
    ceiling = asked or max(1, int(sum(host.cpus for host in hosts) / study.resources.cpus_per_trial))
    for number in range(ceiling, 0, -1):
        if fits(study, hosts, number):
            return number
    raise ExecutionError(_refusal(study, hosts))


def fits(study: Study, hosts: Sequence[Host], trials: int) -> bool:
    """Whether `trials` trials, each with the Ray Train workers that it may start, have room at the same time."""
    resources, training = study.resources, study.training
    wanted = [(float(resources.cpus_per_trial), float(resources.gpus_per_trial))] * trials
    if _may_nest(study):
        wanted += [(float(training.cpus_per_worker), training.gpus_per_worker)] * (training.workers * trials)
    free = [[host.cpus, host.gpus] for host in hosts]
    for cpus, gpus in sorted(wanted, reverse=True):
        for room in sorted(free):  # the fullest host that still has room
            if room[0] + _SLACK >= cpus and room[1] + _SLACK >= gpus:
                room[0] -= cpus
                room[1] -= gpus
                break
        else:
            return False
    return True


def _may_nest(study: Study) -> bool:
    training = study.training
    return training.mode == "ray" or (training.mode == "auto" and training.workers > 1)


def _refusal(study: Study, hosts: Sequence[Host]) -> str:
    resources, training = study.resources, study.training
    need = f"a trial asks for {resources.cpus_per_trial} CPUs and {resources.gpus_per_trial:g} GPUs on one host"
    settings = "resources.cpus_per_trial or resources.gpus_per_trial"
    if _may_nest(study):
        need += (
            f", and for {training.workers} Ray Train workers of {training.cpus_per_worker} CPUs and "
            f"{training.gpus_per_worker:g} GPUs beside it"
        )
        settings += ", or training.workers (training.mode: in_place needs none)"
    have = "; ".join(f"{host.address} has {host.cpus:g} CPUs and {host.gpus:g} GPUs" for host in hosts)
    return f"{need}, but {have or 'no host is alive'}: lower {settings} in the study, or add a host"
