"""YAML documents that anyone may have written: plain values, each key once, of bounded size."""

from collections.abc import Hashable
from typing import Any

import yaml

MOST = 100_000
"""Values of a document, those that an alias repeats counted each time."""


def read_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        yaml.YAMLError: for what is no YAML, for a key that is given twice, of which one would be
            ignored, and for aliases that repeat themselves, or repeat lists of lists without end.
        RecursionError: for lists nested beyond reason.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """The loader of plain values, which counts them before it makes them."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _size(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, IndexError, KeyError, AttributeError) as error:
            shown, kind = f"{node.value!r:.40}", node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown} is no {kind}", node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _size(node: Any, known: dict[int, int | None]) -> int:
    """Values in a node, with those behind each alias counted where they are repeated."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise yaml.composer.ComposerError(
                None, None, "an alias repeats what it is a part of", node.start_mark
            )
        return size
    known[id(node)] = None
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(_size(each, known) for each in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(_size(key, known) + _size(value, known) for key, value in node.value)
    if size > MOST:
        raise yaml.composer.ComposerError(
            None, None, f"it holds more than {MOST:,} values", node.start_mark
        )
    known[id(node)] = size
    return size
