"""Published data sets: checked, read correctly, and downloaded if missing."""

import gzip
import hashlib
import io
import os
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ppvae import data
from ppvae.data import binarized_mnist, downloads, image_rows, omniglot, vision
from ppvae.errors import InputError

PUBLISHED = Path(os.environ.get("PPVAE_DATA", ""))
needs_mnist = pytest.mark.skipif(
    not (PUBLISHED / "MNIST").is_dir(), reason="PPVAE_DATA does not hold MNIST"
)
needs_binarized = pytest.mark.skipif(
    not (PUBLISHED / "BinarizedMNIST").is_dir(), reason="PPVAE_DATA does not hold BinarizedMNIST"
)


def x_of(split: data.Split) -> torch.Tensor:
    return next(split.chunks(100_000))["x"]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """Serve a folder on this machine; yield it and its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Write no line per request."""


def idx(array: NDArray[np.uint8]) -> bytes:
    sizes = np.array(array.shape, ">i4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def small_mnist() -> dict[str, bytes]:
    """Return the four files of a set of 60 and 20 images, by their names."""
    noise = np.random.default_rng(0)
    return {
        f"{part}-{kind}": idx(noise.integers(0, 10, (rows, *shape), dtype=np.uint8))
        for part, rows in (("train", 60), ("t10k", 20))
        for kind, shape in (("images-idx3-ubyte", (28, 28)), ("labels-idx1-ubyte", ()))
    }


def trust(monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> None:
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(downloads, "MD5", md5)


def laid_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in small_mnist().items():
        (raw / name).write_bytes(content)
    trust(monkeypatch, {f"MNIST/raw/{name}": content for name, content in small_mnist().items()})
    return raw


def test_idx_files_are_read_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(tmp_path, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    loaded = data.load("MNIST", data_dir=tmp_path)
    assert [len(split) for split in loaded.splits.values()] == [50, 10, 20]
    images = np.frombuffer(small_mnist()["t10k-images-idx3-ubyte"][16:], np.uint8)
    labels = np.frombuffer(small_mnist()["t10k-labels-idx1-ubyte"][8:], np.uint8)
    batch = next(loaded.test.chunks(20))
    np.testing.assert_array_equal(batch["x"].numpy().ravel(), images / np.float32(255))
    np.testing.assert_array_equal(batch["y"].numpy(), labels)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out(tmp_path, monkeypatch)
    monkeypatch.setenv("PPVAE_DATA", str(tmp_path))
    assert len(data.load("mnist").test) == 20


def test_a_wrong_checksum_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = laid_out(tmp_path, monkeypatch) / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    found = hashlib.md5(path.read_bytes()).hexdigest()
    expected = downloads.MD5["MNIST/raw/t10k-images-idx3-ubyte"]
    says = f"{path} is damaged or another file: its md5 is {found}, and {expected} was expected"
    with pytest.raises(InputError, match=says):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 11, 500])
def test_a_truncated_idx_file_is_named(
    keep: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = laid_out(tmp_path, monkeypatch) / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    monkeypatch.setattr(downloads, "MD5", {})
    with pytest.raises(InputError, match=f"{path} is damaged: it holds {keep} bytes"):
        data.load("mnist", data_dir=tmp_path)


def test_missing_mnist_is_downloaded_by_torchvision(
    web: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    folder, address = web
    resources = []
    for name, content in small_mnist().items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(MNIST, "mirrors", [address + "/"])
    monkeypatch.setattr(MNIST, "resources", resources)
    trust(monkeypatch, {f"MNIST/raw/{name}": content for name, content in small_mnist().items()})
    assert len(data.load("mnist", data_dir=tmp_path / "here").test) == 20


def amat(rows: int, seed: int) -> tuple[NDArray[Any], bytes]:
    pixels = np.random.default_rng(seed).integers(0, 2, (rows, 784))
    text = io.BytesIO()
    np.savetxt(text, pixels, "%d")
    return pixels, text.getvalue()


def test_zeros_and_ones_are_parsed_as_numpy_does() -> None:
    pixels, text = amat(9, 0)
    parsed = binarized_mnist.zeros_and_ones(text, Path("x.amat")).numpy()
    np.testing.assert_array_equal(parsed, np.loadtxt(io.BytesIO(text)))
    np.testing.assert_array_equal(parsed, pixels)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-1],
        lambda text: text[: 5 * 1568 + 784],
        lambda text: text.replace(b"1", b"2", 1),
        lambda text: text.replace(b" ", b",", 1),
        lambda text: text.replace(b"\n", b" ", 1),
    ],
)
def test_damaged_zeros_and_ones_are_refused(damage: Any) -> None:
    with pytest.raises(InputError, match=r"x\.amat is damaged"):
        binarized_mnist.zeros_and_ones(damage(amat(9, 0)[1]), Path("x.amat"))


def published_amat(
    web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, NDArray[Any]]:
    folder, address = web
    contents, pixels = {}, {}
    for seed, part in enumerate(("train", "valid", "test")):
        pixels[part], text = amat(12, seed)
        (folder / f"binarized_mnist_{part}.amat").write_bytes(text)
        contents[f"BinarizedMNIST/binarized_mnist_{part}.amat"] = text
    trust(monkeypatch, contents)
    monkeypatch.setattr(binarized_mnist, "URL", address)
    return pixels


@pytest.mark.parametrize("binarize", ["none", "dynamic", "static", "threshold"])
def test_the_fixed_binarization_is_downloaded_and_stays_what_it_is(
    binarize: data.Binarize,
    web: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = published_amat(web, monkeypatch)
    here = tmp_path / "here"
    loaded = data.load("binarized-mnist", data_dir=here, binarize=binarize)
    for part, split in loaded.splits.items():
        np.testing.assert_array_equal(x_of(split).numpy().reshape(-1, 784), pixels[part])
    assert loaded.scaling.kind == "as-is"
    assert sorted(path.suffix for path in (here / "BinarizedMNIST").iterdir()) == [".amat"] * 3


def test_a_download_that_is_damaged_leaves_nothing_behind(
    web: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_amat(web, monkeypatch)
    (web[0] / "binarized_mnist_train.amat").write_bytes(b"an error page")
    with pytest.raises(InputError, match="getting it failed"):
        data.load("binarized-mnist", data_dir=tmp_path / "here")
    assert not [path for path in (tmp_path / "here").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "binarized-mnist", "omniglot"])
def test_what_cannot_be_had_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets

    nowhere = (tmp_path / "nowhere").as_uri()
    for maker in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(maker, "mirrors", [nowhere + "/"])
    monkeypatch.setattr(binarized_mnist, "URL", nowhere)
    monkeypatch.setattr(omniglot, "URL", nowhere)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "not" / "there"):
        with pytest.raises(InputError) as caught:
            data.load(name, data_dir=folder)
        sentence = str(caught.value)
        assert f"the data '{name}' is not in {folder}, and getting it failed (" in sentence
        assert "No such file or directory" in sentence
        assert "): point `data_dir` or PPVAE_DATA at a folder that holds it." in sentence
        assert "\n" not in sentence
    assert list(tmp_path.rglob("*")) == [empty]


def test_omniglot_is_upright_and_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    monkeypatch.setattr(omniglot, "ROWS", {"data": 30, "testdata": 12})
    monkeypatch.setattr(omniglot, "VALID", 5)
    noise = np.random.default_rng(0)
    images = {"data": noise.random((30, 28, 28)), "testdata": noise.random((12, 28, 28))}
    codes = {"target": noise.integers(0, 50, 30), "testtarget": noise.integers(0, 50, 12)}
    content: dict[str, Any] = {
        # Column by column, as the authors' program stores a matrix.
        name: np.stack([image.ravel(order="F") for image in stack], axis=1)
        for name, stack in images.items()
    } | {name: np.eye(50)[:, code] for name, code in codes.items()}
    (tmp_path / "Omniglot28").mkdir()
    savemat(tmp_path / "Omniglot28" / "chardata.mat", content)
    loaded = data.load("omniglot", data_dir=tmp_path)
    assert [len(split) for split in loaded.splits.values()] == [25, 5, 12]
    batch = next(loaded.test.chunks(12))
    np.testing.assert_array_equal(batch["x"][:, 0].numpy(), images["testdata"].astype(np.float32))
    np.testing.assert_array_equal(batch["y"].numpy(), codes["testtarget"])

    del content["testdata"]
    savemat(tmp_path / "Omniglot28" / "chardata.mat", content)
    says = r"testdata is nothing, and \(784, 12\) was expected"
    with pytest.raises(InputError, match=says):
        data.load("omniglot", data_dir=tmp_path)
    (tmp_path / "Omniglot28" / "chardata.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(InputError, match=r"cannot be read as Omniglot's chardata\.mat"):
        data.load("omniglot", data_dir=tmp_path)


def test_the_sets_of_torchvision_go_by_their_class() -> None:
    found = vision.makers()
    assert {"cifar10", "cifar100", "svhn", "stl10", "celeba", "emnist", "food101"} <= set(found)
    assert not {"imagefolder", "fakedata", "omniglot"} & set(found)


def test_cifar10_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    noise = np.random.default_rng(0)
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    for which, file in (("train_list", "data_batch_1"), ("test_list", "test_batch")):
        pixels = noise.integers(0, 256, (24, 3072), dtype=np.uint8)
        content = pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(24)]})
        (folder / file).write_bytes(content)
        lists[which] = [[file, hashlib.md5(content).hexdigest()]]
    meta = pickle.dumps({"label_names": [f"class {i}" for i in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "train_list", lists["train_list"])
    monkeypatch.setattr(CIFAR10, "test_list", lists["test_list"])
    monkeypatch.setattr(
        CIFAR10,
        "meta",
        {
            "filename": "batches.meta",
            "key": "label_names",
            "md5": hashlib.md5(meta).hexdigest(),
        },
    )
    loaded = data.load("CIFAR-10", data_dir=tmp_path)
    assert loaded.name == "cifar10"
    assert [len(split) for split in loaded.splits.values()] == [20, 4, 24]
    assert loaded.labels == tuple(f"class {i}" for i in range(10))
    batch = next(loaded.test.chunks(24))
    expected = pixels.reshape(24, 3, 32, 32) / np.float32(255)
    np.testing.assert_array_equal(batch["x"].numpy(), expected)
    assert batch["y"].tolist() == [i % 10 for i in range(24)]


class Pictures:
    """A set like those of torchvision that decode one image at a time."""

    classes = ("even", "odd")

    def __init__(self, root: Path, split: str = "train", download: bool = False) -> None:
        if split not in ("train", "val"):
            raise ValueError(split)
        if not download:
            raise RuntimeError("Dataset not found")
        self.pixels = np.random.default_rng(len(split)).integers(0, 256, (18, 3, 4, 3), np.uint8)
        self._labels = [row % 2 for row in range(18)]

    def __len__(self) -> int:
        return 18

    def __getitem__(self, row: int) -> tuple[Any, int]:
        from PIL import Image

        return Image.fromarray(self.pixels[row]), self._labels[row]


@pytest.mark.parametrize("limit", [0, 2**30])
def test_sets_that_decode_images_are_streamed_where_they_are_large(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_rows, "RESIDENT_BYTES", limit)
    source = vision.vision_source("pictures", Pictures, tmp_path)
    assert source.labels == ("even", "odd")
    parts = source.parts(0)
    assert [len(rows) for rows in parts.values()] == [15, 3, 18]
    monkeypatch.setattr("ppvae.data.readers.makers", lambda: {"pictures": Pictures})
    batch = next(data.load("pictures", data_dir=tmp_path).test.chunks(18))
    pixels = Pictures(tmp_path, "val", download=True).pixels
    expected = pixels.transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_array_equal(batch["x"].numpy(), expected)
    assert batch["y"].tolist() == [row % 2 for row in range(18)]


@needs_mnist
def test_mnist_is_the_published_set() -> None:
    loaded = data.load("mnist", binarize="dynamic")
    assert [len(split) for split in loaded.splits.values()] == [50_000, 10_000, 10_000]
    assert loaded.shape == (1, 28, 28)
    # The mean intensity of all training digits, as is well known.
    plain = data.load("mnist")
    total = x_of(plain.train).double().sum() + x_of(plain.valid).double().sum()
    assert total.item() / (60_000 * 784) == pytest.approx(0.1307, abs=5e-5)
    assert plain.test.take(torch.arange(5))["y"].tolist() == [7, 2, 1, 0, 4]
    x, drawn = x_of(plain.test).double(), x_of(loaded.test).double()
    error = (drawn.sum() - x.sum()) / (x * (1 - x)).sum().sqrt()
    assert abs(error.item()) < 5


@pytest.mark.slow
@needs_binarized
def test_the_fixed_binarization_is_the_published_one() -> None:
    loaded = data.load("binarized-mnist")
    assert [len(split) for split in loaded.splits.values()] == [50_000, 10_000, 10_000]
    x = x_of(loaded.test)
    assert set(x.flatten().tolist()) == {0.0, 1.0}
    if (PUBLISHED / "MNIST").is_dir():
        # It is one draw from the intensities of the same test digits, in another order.
        intensity = x_of(data.load("mnist").test).double()
        excess = x.double().sum(0) - intensity.sum(0)
        error = (intensity * (1 - intensity)).sum(0).sqrt()
        assert (excess.abs() <= 5 * error).all()
