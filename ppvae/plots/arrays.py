"""Arrays as images, if their shape is that of images, else as a table."""

import numpy as np
import numpy.typing as npt

from ppvae.errors import InputError

type Array = npt.NDArray[np.float64]
type Limits = tuple[float, float]


def data_array(values: npt.ArrayLike, what: str, least_ndim: int) -> Array:
    """``values`` as an array of numbers; refused if it is empty or axes are missing."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < least_ndim or not array.size:
        raise InputError(f"{what} must be a non-empty array of data; its shape is {array.shape}")
    return array


def as_images(data: Array, lead: int) -> Array | None:
    """``(*lead, C, H, W)`` if the data are images of 1 or 3 channels, else None."""
    if data.ndim - lead == 2:
        return np.expand_dims(data, lead)
    if data.ndim - lead == 3 and data.shape[lead] in (1, 3):
        return data
    return None


def as_table(data: Array, lead: int) -> Array:
    """``(*lead, D)``: each datum flattened."""
    return data.reshape(*data.shape[:lead], -1)


def value_range(*arrays: Array) -> Limits:
    """A common scale: 0 to 1 if all values lie in it, else from their minimum to their maximum."""
    finite = [a[np.isfinite(a)] for a in arrays]
    low = min((float(a.min()) for a in finite if a.size), default=0.0)
    high = max((float(a.max()) for a in finite if a.size), default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0
