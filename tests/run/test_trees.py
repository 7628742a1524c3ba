"""Trees on disk are read as written, completely or not at all."""

import json
import math
from pathlib import Path

import pytest
import torch

from ppvae.errors import InputError
from ppvae.run.store import load_tree, save_tree
from tests.support.fits import differences, reseal


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "a": shared, "again": shared, "view": shared[0], "turned": shared.T,
        "double": torch.tensor([math.pi], dtype=torch.float64), "bytes": torch.get_rng_state(),
        "half": torch.ones(2, dtype=torch.bfloat16), "flag": torch.tensor(True),
        "empty": torch.empty(0), "other empty": torch.empty(0, 2), "nothing": None,
        "odd": torch.tensor([math.nan, math.inf, -math.inf, -0.0]).nan_to_num(nan=5),
        "numbers": [1, 2.5, [True, "x", [None, math.inf, -math.inf, math.nan]], 1 / 3],
        "a/b": 1, "": {"deep": {"deeper": torch.ones(())}},
    }  # fmt: skip
    save_tree(tmp_path / "tree", tree)
    assert not differences(load_tree(tmp_path / "tree"), tree)
    back = load_tree(tmp_path / "tree")
    assert back["a"].data_ptr() != shared.data_ptr()
    nan = {"x": torch.tensor([math.nan, 1.0])}
    save_tree(tmp_path / "nan", nan)
    assert load_tree(tmp_path / "nan")["x"].isnan().tolist() == [True, False]


def test_what_is_neither_tensor_nor_plain_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="/a/1 is a object"):
        save_tree(tmp_path / "tree", {"a": [1, object()]})
    assert not list(tmp_path.iterdir())


def test_a_tensor_that_is_named_and_missing(tmp_path: Path) -> None:
    save_tree(tmp_path / "tree", {"a": torch.ones(1)})
    (tmp_path / "tree" / "tree.json").write_text(json.dumps({"a": {"$tensor": "b"}}))
    reseal(tmp_path / "tree")
    with pytest.raises(InputError, match="lacks the tensor 'b'"):
        load_tree(tmp_path / "tree")
