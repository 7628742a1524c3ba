"""Conversion of values to those of JSON."""

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A value of JSON: ``None`` for numbers that are not finite, text for paths and choices."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
