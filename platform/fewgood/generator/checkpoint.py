"""Generator weights on disk: our own folder, and the released taming-transformers checkpoints a training may start from.

Our weights carry taming's names (encoder.*, decoder.*, quantize.*, quant_conv.*, post_quant_conv.*, and logvar_conv.* for
the variance), so that one loader serves both. Nothing is ever unpickled into an object other than a tensor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fewgood.errors import SpecError, StoreError
from fewgood.generator.network import Architecture, VarianceVQGAN
from fewgood.specs import GeneratorSpec, plain

__all__ = [
    "MODEL_FILE",
    "SPEC_FILE",
    "file_digest",
    "infer_architecture",
    "load_weights",
    "read_folder",
    "read_taming",
    "write_folder",
    "write_json",
]

MODEL_FILE = "model.safetensors"
SPEC_FILE = "spec.json"

_PREFIXES = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.", "logvar_conv.")
_OPTIONAL = "logvar_conv."
_METADATA = "architecture"


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a checkpoint's bytes, for `GeneratorSpec.init_digest`.

    Raises:
        SpecError: If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(
            f"--init-from {path} cannot be read ({error.strerror}); give the path of a taming VQGAN checkpoint"
        ) from error


def read_taming(path: str | Path) -> tuple[dict[str, Tensor], Architecture]:
    """The generator's tensors of a taming VQGAN checkpoint, and the architecture that their shapes imply.

    Args:
        path: A `.safetensors` file, or a torch file (`.ckpt`, `.pt`, `.pth`) with the tensors, or {"state_dict": tensors}
            as Lightning writes it. Losses, discriminator and optimiser states in it are left out.

    Raises:
        SpecError: If the file is unreadable or no VQGAN of this layout.
    """
    path = Path(path)
    if not path.is_file():
        raise SpecError(f"--init-from {path} is no file; give the path of a taming VQGAN checkpoint")
    group_width: int | None = None
    if path.suffix == ".safetensors":
        tensors, own = _read_safetensors(path)
        group_width = None if own is None else own.group_width
    else:
        tensors = _read_torch(path)
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith(_PREFIXES)}
    return weights, infer_architecture(weights, path, group_width=group_width)


def infer_architecture(
    weights: Mapping[str, Tensor], source: str | Path, *, group_width: int | None = None
) -> Architecture:
    """The architecture of a taming VQGAN from its tensors' names and shapes.

    Args:
        weights: Tensors by name.
        source: Where they come from, for the message.
        group_width: Channels per group norm group, which no shape tells; None is taming's 32 groups.

    Raises:
        SpecError: If a tensor that decides the architecture is missing, or the layout is another model's.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            raise SpecError(
                f"--init-from {source} has no {name}; a taming VQGAN with a plain codebook is needed "
                "(encoder.*, decoder.*, quantize.embedding.weight, quant_conv.*, post_quant_conv.*)"
            )
        return tuple(weights[name].shape)

    def count(pattern: str) -> int:
        number = 0
        while any(name.startswith(pattern.format(number)) for name in weights):
            number += 1
        return number

    channels = shape("encoder.conv_in.weight")[0]
    levels = count("encoder.down.{}.")
    widths = [shape(f"encoder.down.{level}.block.0.conv1.weight")[0] for level in range(levels)]
    codebook_size, code_channels = shape("quantize.embedding.weight")
    if levels == 0 or channels % 32 or any(width % channels for width in widths):
        raise SpecError(
            f"--init-from {source} has level widths {widths or 'none'} over {channels} channels; "
            "a taming VQGAN has multiples of 32 at every level"
        )
    return Architecture(
        channels=channels,
        channel_multipliers=tuple(width // channels for width in widths),
        residual_blocks=count("encoder.down.0.block.{}."),
        z_channels=shape("quant_conv.weight")[1],
        code_channels=code_channels,
        codebook_size=codebook_size,
        group_width=group_width,
        attention_levels=tuple(level for level in range(levels) if f"encoder.down.{level}.attn.0.q.weight" in weights),
        middle_attention="encoder.mid.attn_1.q.weight" in weights,
        variance="logvar_conv.weight" in weights,
    )


def load_weights(network: VarianceVQGAN, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy `weights` into `network`; the log-variance's are optional, all others must be there and fit.

    Raises:
        SpecError: Naming the first tensor that is missing, unknown or of another shape.
    """
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            if name.startswith(_OPTIONAL):
                continue
            raise SpecError(f"{source} has no {name}, which is {tuple(tensor.shape)} here; use a whole checkpoint")
        if weights[name].shape != tensor.shape:
            raise SpecError(
                f"{source} has {name} of shape {tuple(weights[name].shape)}, here it is {tuple(tensor.shape)}; "
                "use a checkpoint of this architecture"
            )
    unknown = [name for name in weights if name not in wanted and not name.startswith(_OPTIONAL)]
    if unknown:
        raise SpecError(
            f"{source} has {unknown[0]} of shape {tuple(weights[unknown[0]].shape)}, which this architecture lacks; "
            "use a checkpoint of this architecture"
        )
    network.load_state_dict({name: weights.get(name, tensor) for name, tensor in wanted.items()})


def write_folder(
    folder: Path,
    weights: Mapping[str, Tensor],
    spec: GeneratorSpec,
    architecture: Architecture,
    record: Mapping[str, Any],
) -> None:
    """Write `model.safetensors`, then `spec.json` with the spec, the architecture and `record`.

    The bytes depend on the arguments alone: no times, no paths.

    Raises:
        StoreError: If the folder cannot hold them.
    """
    described = dataclasses.asdict(architecture)
    ordered = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
    part = folder / f".{MODEL_FILE}.part"
    try:
        save_file(ordered, part, metadata={_METADATA: json.dumps(described, sort_keys=True)})
        part.replace(folder / MODEL_FILE)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{folder} cannot hold the generator ({error}); free space or choose another home") from error
    write_json(folder / SPEC_FILE, {**record, "spec": plain(spec), "architecture": described})


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON under a temporary name and rename it.

    Raises:
        StoreError: If the folder cannot hold it.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}); free space or choose another home") from error


def read_folder(folder: Path) -> tuple[dict[str, Tensor], Architecture, GeneratorSpec]:
    """What `write_folder` wrote: weights, architecture, spec.

    Raises:
        StoreError: If a file is missing or damaged.
    """
    try:
        described = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
        spec = GeneratorSpec(**_tuples(described["spec"]))
        architecture = Architecture(**_tuples(described["architecture"]))
        weights = load_file(folder / MODEL_FILE)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreError(
            f"{folder} holds no whole generator ({type(error).__name__}: {error}); remove it and train again"
        ) from error
    return weights, architecture, spec


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Architecture | None]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
        own = Architecture(**_tuples(json.loads(metadata[_METADATA]))) if _METADATA in metadata else None
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise SpecError(f"--init-from {path} is no readable safetensors file ({error}); give a whole file") from error
    return tensors, own


class _Inert:
    """Stands for any object of a Lightning checkpoint that is no tensor (callbacks, configurations): it does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _read_torch(path: Path) -> dict[str, Tensor]:
    # Lightning pickles its callbacks beside the tensors. `weights_only` refuses them, so each name that it does not know
    # is given an inert stand-in: no foreign class is imported and no code of the file runs.
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stands = [(type("Inert", (_Inert,), {}), name) for name in names]
        with torch.serialization.safe_globals(stands):  # type: ignore[arg-type]
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).rsplit("WeightsUnpickler error:", 1)[-1].split())[:160]
        raise SpecError(
            f"--init-from {path} cannot be read without running code from it ({reason}); "
            "save its state_dict as .safetensors where you trust it"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise SpecError(f"--init-from {path} holds a {type(loaded).__name__}, not the tensors of a taming VQGAN")
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
