"""Small synthetic trees in each dataset's real layout on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = (20, 24)  # height, width: not square, so that swapped axes fail


def save_image(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *path.name.encode()])
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def save_mask(path: Path, value: int = 255, size: tuple[int, int] = SIZE, top: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, dtype=np.uint8)
    mask[top : top + 3, 4:9] = value
    Image.fromarray(mask).save(path)
    return path


def mvtec_tree(root: Path, category: str = "bottle", good: int = 4) -> Path:
    folder = root / category
    for number in range(good):
        save_image(folder / f"train/good/{number:03d}.png", 1)
    for number in range(2):
        save_image(folder / f"test/good/{number:03d}.png", 2)
        save_image(folder / f"test/broken/{number:03d}.png", 3)
        save_mask(folder / f"ground_truth/broken/{number:03d}_mask.png")
    return folder


def loco_tree(root: Path) -> Path:
    folder = root / "pushpins"
    for number in range(3):
        save_image(folder / f"train/good/{number:03d}.png", 1)
    save_image(folder / "validation/good/000.png", 9)
    save_image(folder / "test/good/000.png", 2)
    for kind in ("logical", "structural"):
        for number in range(2):
            save_image(folder / f"test/{kind}_anomalies/{number:03d}.png", 3)
            save_mask(folder / f"ground_truth/{kind}_anomalies/{number:03d}/000.png", value=254)
    save_mask(folder / "ground_truth/logical_anomalies/001/001.png", value=1, top=10)
    return folder


def btad_tree(root: Path, category: str = "01", image: str = ".bmp", mask: str = ".png") -> Path:
    folder = root / category
    for number in range(3):
        save_image(folder / f"train/ok/{number:04d}{image}", 1)
    save_image(folder / f"test/ok/0000{image}", 2)
    for number in range(2):
        save_image(folder / f"test/ko/{number:04d}{image}", 3)
        save_mask(folder / f"ground_truth/ko/{number:04d}{mask}")
    return folder


def visa_raw_tree(root: Path, category: str = "pcb1") -> Path:
    folder = root / category
    rows = ["object,split,label,image,mask"]
    for number in range(4):
        name = f"{category}/Data/Images/Normal/{number:04d}.JPG"
        save_image(root / name, 1)
        rows.append(f"{category},{'train' if number < 3 else 'test'},normal,{name},")
    for number in range(2):
        name = f"{category}/Data/Images/Anomaly/{number:03d}.JPG"
        truth = f"{category}/Data/Masks/Anomaly/{number:03d}.png"
        save_image(root / name, 3)
        save_mask(root / truth, value=1)
        rows.append(f"{category},test,anomaly,{name},{truth}")
    rows.append("candle,train,normal,candle/Data/Images/Normal/0000.JPG,")
    table = root / "split_csv" / "1cls.csv"
    table.parent.mkdir(parents=True)
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def visa_prepared_tree(root: Path, category: str = "pcb1") -> Path:
    folder = root / "visa_pytorch" / category
    for number in range(3):
        save_image(folder / f"train/good/{number:04d}.JPG", 1)
    save_image(folder / "test/good/0003.JPG", 1)
    for number in range(2):
        save_image(folder / f"test/bad/{number:03d}.JPG", 3)
        save_mask(folder / f"ground_truth/bad/{number:03d}.png")
    return folder


@pytest.fixture
def trees() -> dict[str, Callable[[Path], Path]]:
    return {
        "mvtec": mvtec_tree,
        "mvtec_loco": loco_tree,
        "btad": btad_tree,
        "visa": visa_raw_tree,
        "visa_prepared": visa_prepared_tree,
        "image": save_image,
        "mask": save_mask,
    }
