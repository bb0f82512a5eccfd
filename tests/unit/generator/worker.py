"""One of several data-parallel workers, as a process of its own: `worker.py RANK WORKERS FOLDER SPEC`.

Joins the others through a file in FOLDER, trains twice (its part of a batch as a whole, then crop by crop), and leaves both
loss histories there as `histories-RANK.json`.
"""

import json
import runpy
import sys
from pathlib import Path

import torch
import torch.distributed

from fewgood.generator.collective import ProcessGroup
from fewgood.generator.loop import run_steps
from fewgood.generator.training import prepare, starting_point
from fewgood.specs import GeneratorSpec


def main(rank: int, workers: int, folder: Path, spec: GeneratorSpec) -> None:
    torch.set_num_threads(1)
    shared = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=workers)
    images = [shared["stripes"](40, 52), shared["stripes"](33, 20, seed=1)]
    histories: dict[str, dict[str, list[float]]] = {"whole": {}, "micro": {}}
    for name, history in histories.items():
        trainer = prepare(
            images,
            spec,
            start=starting_point(spec),
            seed=3,
            device=torch.device("cpu"),
            precision="float32",
            perceptual=shared["blur_distance"],
            workers=workers,
            collective=ProcessGroup(),
            micro_batch=1 if name == "micro" else None,
        )
        run_steps(trainer, images, history, rank=rank, workers=workers)
    (folder / f"histories-{rank}.json").write_text(json.dumps(histories))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(sys.argv[4]).items()}
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), GeneratorSpec(**values))
