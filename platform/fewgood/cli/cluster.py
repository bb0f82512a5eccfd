"""`fewgood cluster init|check`: the files of a cluster from the packaged templates, and their validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from fewgood.cli.common import JsonOption, begin, console, print_json
from fewgood.errors import SpecError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    cluster_app = typer.Typer(no_args_is_help=True, help="The files of a cluster: ray up, KubeRay, Docker.")

    @cluster_app.command()
    def init(
        folder: Annotated[Path, typer.Argument(help="Where the files are written.")],
        image: Annotated[str, typer.Option("--image", help="The image of every host, with a tag or a digest.")],
        store: Annotated[str, typer.Option("--store", help="What the hosts share, e.g. s3://BUCKET/fewgood.")],
        name: Annotated[str, typer.Option("--name", help="The cluster's name.")] = "fewgood",
        workers: Annotated[int, typer.Option("--workers", help="Workers without a GPU.")] = 2,
        gpus: Annotated[int, typer.Option("--gpus", help="Workers with one GPU each.")] = 0,
        cpus: Annotated[int, typer.Option("--cpus", help="CPUs of a worker (Kubernetes).")] = 4,
        memory: Annotated[str, typer.Option("--memory", help="Memory of a worker (Kubernetes).")] = "16Gi",
        namespace: Annotated[str, typer.Option("--namespace", help="Kubernetes' namespace.")] = "default",
        credentials: Annotated[
            str, typer.Option("--credentials", help="The Secret with the store's credentials.")
        ] = "fewgood-store",
        data_claim: Annotated[
            str | None, typer.Option("--data-claim", help="A PersistentVolumeClaim with datasets, mounted at /data.")
        ] = None,
        study: Annotated[Path | None, typer.Option("--study", help="The study of the RayJob [an example].")] = None,
        head_host: Annotated[str | None, typer.Option("--head-host", help="Own hosts: the head.")] = None,
        worker_host: Annotated[
            list[str] | None, typer.Option("--worker-host", help="Own hosts: a worker; may be repeated.")
        ] = None,
        host_folder: Annotated[
            str, typer.Option("--host-folder", help="Own hosts: the folder of each host's home.")
        ] = "/var/lib/fewgood",
        ssh_user: Annotated[str, typer.Option("--ssh-user", help="Own hosts: the user.")] = "ubuntu",
        region: Annotated[str, typer.Option("--region", help="AWS' region.")] = "us-east-1",
        subnet: Annotated[str | None, typer.Option("--subnet", help="AWS: your private subnet.")] = None,
        security_group: Annotated[
            str | None, typer.Option("--security-group", help="AWS: your security group.")
        ] = None,
        wheel: Annotated[Path | None, typer.Option("--wheel", help="fewgood's wheel, for the image.")] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
        json_output: JsonOption = False,
    ) -> None:
        """Write ray up, KubeRay and Docker files, which `check` then accepts."""
        begin(None, json_output=json_output, prepare=False)
        from fewgood_cluster.render import render, write
        from fewgood_cluster.settings import settings_from

        settings = settings_from(
            {
                "name": name,
                "image": image,
                "store": store,
                "workers": workers,
                "gpus": gpus,
                "cpus": cpus,
                "memory": memory,
                "namespace": namespace,
                "credentials": credentials,
                "data_claim": data_claim,
                "study": None if study is None else _text(study),
                "head_host": head_host,
                "worker_hosts": worker_host or None,
                "host_folder": host_folder,
                "ssh_user": ssh_user,
                "region": region,
                "subnet": subnet,
                "security_group": security_group,
            }
        )
        written = write(folder, render(settings), wheel=wheel, force=force)
        if json_output:
            print_json({"status": "ok", "folder": str(folder), "files": [str(path) for path in written]})
            return
        for path in written:
            console.print(str(path), markup=False, soft_wrap=True)
        if wheel is None:
            console.print(
                f"put fewgood's wheel into {folder / 'wheels'} before docker build", markup=False, soft_wrap=True
            )

    @cluster_app.command()
    def check(
        files: Annotated[list[Path], typer.Argument(help="ray up files and KubeRay manifests.")],
        crds: Annotated[
            Path | None,
            typer.Option("--crds", help="The folder of KubeRay's definitions [FEWGOOD_CRDS; crds beside the file]."),
        ] = None,
        json_output: JsonOption = False,
    ) -> None:
        """Validate files against Ray's schema or KubeRay's definitions and our rules; nothing is started."""
        begin(None, json_output=json_output, prepare=False)
        from fewgood_cluster.check import check_files

        findings = check_files(files, definitions=crds)
        errors = sum(finding.level == "error" for finding in findings)
        if json_output:
            print_json(
                {
                    "status": "failed" if errors else "ok",
                    "errors": errors,
                    "warnings": sum(finding.level == "warning" for finding in findings),
                    "findings": [dataclasses.asdict(finding) | {"path": str(finding.path)} for finding in findings],
                }
            )
        else:
            for finding in findings:
                typer.echo(str(finding))
        if errors:
            raise typer.Exit(2)

    app.add_typer(cluster_app, name="cluster")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--study {path} cannot be read ({error}): give the YAML file of a study") from error
