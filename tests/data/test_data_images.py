"""Meaning of image files and folders: orientation, transparency, pages, parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ppvae import data
from ppvae.data import image_rows
from ppvae.errors import InputError

NOISE = np.random.default_rng(0)


def pixels(height: int = 6, width: int = 4) -> NDArray[np.uint8]:
    return NOISE.integers(0, 256, (height, width), dtype=np.uint8)


def folder_of(path: Path, count: int = 12, **options: Any) -> list[NDArray[np.uint8]]:
    path.mkdir(parents=True, exist_ok=True)
    images = [pixels(**options) for _ in range(count)]
    for place, image in enumerate(images):
        Image.fromarray(image).save(path / f"{place:02}.png")
    return images


def read(path: Path) -> torch.Tensor:
    loaded = data.load(path)
    new = data.load_new(path, scaling=loaded.scaling, shape=loaded.shape)
    return next(new.chunks(999))["x"]


# How a file is stored, by the orientation in its tag.
STORED: dict[int, Any] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda image: np.rot90(image, 1),
    7: lambda image: np.rot90(np.transpose(image), 2),
    8: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("suffix", ["tiff", "webp"])
@pytest.mark.parametrize("resident", [True, False])
def test_images_stand_upright(
    suffix: str, resident: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resident:
        monkeypatch.setattr(image_rows, "RESIDENT_BYTES", 0)
    upright = pixels()
    for place in range(16):
        exif = Image.Exif()
        exif[274] = place % 8 + 1
        stored = np.ascontiguousarray(STORED[place % 8 + 1](upright))
        Image.fromarray(stored).save(tmp_path / f"{place}.{suffix}", exif=exif, lossless=True)
    x = read(tmp_path)
    assert x.shape[2:] == (6, 4)
    grey = x[:, :1] * 255
    np.testing.assert_allclose(grey.numpy(), np.broadcast_to(upright, (16, 1, 6, 4)), atol=1e-3)


def with_alpha(alpha: NDArray[np.uint8], mode: str) -> Image.Image:
    image = Image.fromarray(pixels()).convert("RGB" if mode == "RGBA" else "L")
    image.putalpha(Image.fromarray(alpha))
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_channel_says_nothing(mode: str, tmp_path: Path) -> None:
    folder_of(tmp_path, 11)
    with_alpha(np.full((6, 4), 255, np.uint8), mode).save(tmp_path / "z.png")
    assert read(tmp_path).shape == (12, 3 if mode == "RGBA" else 1, 6, 4)


def transparent_palette() -> Image.Image:
    image = Image.fromarray(pixels() % 4).convert("P")
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_a_background_that_shows_through_is_refused(kind: str, tmp_path: Path) -> None:
    folder_of(tmp_path, 11)
    image = transparent_palette() if kind == "P" else with_alpha(pixels(), kind)
    image.save(tmp_path / "z.png")
    with pytest.raises(InputError, match=r"z\.png is transparent in places"):
        data.load(tmp_path)


@pytest.mark.parametrize("suffix", ["tiff", "gif", "webp"])
def test_further_pages_are_not_dropped(suffix: str, tmp_path: Path) -> None:
    folder_of(tmp_path, 11)
    pages = [Image.fromarray(pixels()) for _ in range(3)]
    pages[0].save(tmp_path / f"z.{suffix}", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match=rf"z\.{suffix} holds 3 pictures"):
        data.load(tmp_path)


def test_what_is_hidden_is_no_data(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        folder_of(tmp_path / label)
    for hidden in (".ipynb_checkpoints", "__MACOSX", "cat/.thumbnails", "dog/@eaDir"):
        folder_of(tmp_path / hidden, 1, height=3)
    (tmp_path / "cat" / "._00.png").write_bytes(b"no image")
    (tmp_path / ".DS_Store").write_bytes(b"")
    loaded = data.load(tmp_path)
    assert loaded.labels == ("cat", "dog")
    assert sum(map(len, loaded.splits.values())) == 24


def test_files_of_other_types_are_said(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "00.heic").write_bytes(b"")
    (tmp_path / "README.txt").write_bytes(b"")
    assert "files of other types ignored (1 .heic, 1 .txt)" in data.load(tmp_path).describe()


def test_palettes_are_colours(tmp_path: Path) -> None:
    folder_of(tmp_path, 11)
    image = Image.fromarray(pixels() % 2).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "z.png")
    x = read(tmp_path)
    np.testing.assert_array_equal(
        x[-1].numpy() * 255, np.array(image.convert("RGB")).transpose(2, 0, 1)
    )


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("train", "test"), [33, 7, 20]),
        (("Training", "validation", "testing"), [40, 20, 20]),
        (("train", "val"), [36, 20, 4]),
    ],
)
def test_folders_of_parts_are_the_parts(
    names: tuple[str, ...], rows: list[int], tmp_path: Path
) -> None:
    for name in names:
        for label in ("cat", "dog"):
            folder_of(tmp_path / name / label, 20 if name.lower().startswith("train") else 10)
    loaded = data.load(tmp_path)
    assert loaded.labels == ("cat", "dog")
    assert [len(split) for split in loaded.splits.values()] == rows
    assert f"parts by the folders {names[0]}" in loaded.describe()


def test_new_data_of_a_folder_with_parts_are_its_test_rows(tmp_path: Path) -> None:
    folder_of(tmp_path / "train" / "cat", 20)
    images = folder_of(tmp_path / "test" / "cat", 10)
    np.testing.assert_allclose(read(tmp_path)[:, 0].numpy() * 255, images, atol=1e-3)


def test_a_test_part_without_labels_has_unknown_ones(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        folder_of(tmp_path / "train" / label)
    folder_of(tmp_path / "test")
    loaded = data.load(tmp_path)
    assert set(next(loaded.test.chunks(99))["y"].tolist()) == {-1}
    assert set(next(loaded.train.chunks(99))["y"].tolist()) == {0, 1}


def test_one_folder_of_a_part_is_all_of_the_data(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        folder_of(tmp_path / "train" / label)
    assert data.load(tmp_path).labels == ("cat", "dog")


def test_a_label_may_be_called_as_a_part_is(tmp_path: Path) -> None:
    for label in ("car", "plane", "train"):
        folder_of(tmp_path / label)
    assert data.load(tmp_path).labels == ("car", "plane", "train")


@pytest.mark.parametrize(
    "names", [("train", "test", "car"), ("test", "valid"), ("train", "Train", "test")]
)
def test_parts_among_others_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        folder_of(tmp_path / name / "cat")
    with pytest.raises(InputError, match="one folder for each part"):
        data.load(tmp_path)
