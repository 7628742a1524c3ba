"""Untrusted YAML: small repetitions are read, and malicious documents are refused."""

import pytest
import yaml

from ppvae.run.documents import MOST, read_yaml


def test_what_pyyaml_writes_comes_back() -> None:
    hidden = [16, 16]
    settings = {"encoder": {"hidden": hidden}, "decoder": {"hidden": hidden}, "lr": 0.1, "n": None}
    text = yaml.safe_dump(settings)
    assert "&" in text  # the list that is there twice is an alias
    assert read_yaml(text) == settings
    assert read_yaml("") is None


@pytest.mark.parametrize(
    "text",
    [
        "epochs: 1\nepochs: 2\n",
        "prior: {a: 1, b: 2, a: 3}\n",
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "!!python/object/apply:os.system ['true']\n",
        "- " * 10 + "[",
    ],
)
def test_what_hides_something_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize("wide", [9, 99])
def test_values_are_counted_where_they_are_repeated(wide: int) -> None:
    """A small document with a huge content."""
    text = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * wide)}]\n" for i in range(1, 12)
    )
    assert len(text) < MOST
    with pytest.raises(yaml.YAMLError, match="holds more than"):
        read_yaml(text)
