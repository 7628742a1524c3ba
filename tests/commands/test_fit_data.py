"""Fits of user data: arrays, tables, folders of images."""

from pathlib import Path

import numpy as np
from PIL import Image

from ppvae.fit import main
from ppvae.run import Run
from tests.support.fits import (
    quick,
    small,
    small_flags,
    table,
)

__all__ = ["quick"]  # a fixture, used by every test here


def test_an_npz_with_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=table(), y=np.arange(90) % 3)
    run = small(tmp_path, data=tmp_path / "d.npz", epochs=1)
    assert run.example()["y"].dim() == 1
    assert run.label_names == ("0", "1", "2")


def test_a_csv_with_a_label_column(tmp_path: Path) -> None:
    lines = [f"{a},{b},{'cat' if a > 0 else 'dog'}" for a, b, _ in table()]
    (tmp_path / "d.csv").write_text("a,b,kind\n" + "\n".join(lines) + "\n")
    flags = small_flags(tmp_path)
    main([*flags, "--data", str(tmp_path / "d.csv"), "--label", "kind", "--epochs", "1"])
    run = Run(tmp_path / "run")
    assert run.data_shape == (2,)
    assert run.label_names is not None
    assert set(run.label_names) == {"cat", "dog"}


def test_a_folder_of_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("left", "right"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    run = small(
        tmp_path, data=tmp_path / "images", likelihood="Bernoulli", binarize="threshold", epochs=1
    )
    assert run.data_shape == (1, 6, 6)
    assert run.label_names == ("left", "right")
