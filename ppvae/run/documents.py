"""Untrusted YAML documents: plain values, unique keys, bounded size."""

from collections.abc import Hashable
from typing import Any

import yaml

MOST = 100_000
"""Maximum number of values of a document, counting repeats by aliases."""


def read_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        yaml.YAMLError: for invalid YAML, a repeated key, recursive aliases, or aliases that expand
            beyond the limit.
        RecursionError: for lists nested too deeply.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """A loader of plain values, which counts them before it constructs them."""

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
                None, None, f"{shown} is not a valid {kind}", node.start_mark
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
    """Number of values in a node, counting repeats by aliases."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise yaml.composer.ComposerError(
                None, None, "an alias contains itself", node.start_mark
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
