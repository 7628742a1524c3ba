"""Arrays read as data: images where their shape is that of images, a table where not."""

import numpy as np
import numpy.typing as npt

from ppvae.errors import InputError

type Array = npt.NDArray[np.float64]
type Limits = tuple[float, float]


def data_array(values: npt.ArrayLike, what: str, least_ndim: int) -> Array:
    """``values`` as numbers; refused where there are none or axes are missing."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < least_ndim or not array.size:
        raise InputError(f"{what} must be an array of data, not empty; its shape is {array.shape}")
    return array


def as_images(data: Array, lead: int) -> Array | None:
    """``(*lead, C, H, W)`` where the data are images of 1 or 3 channels, or None."""
    if data.ndim - lead == 2:
        return np.expand_dims(data, lead)
    if data.ndim - lead == 3 and data.shape[lead] in (1, 3):
        return data
    return None


def as_table(data: Array, lead: int) -> Array:
    """``(*lead, D)``, whatever shape a datum has."""
    return data.reshape(*data.shape[:lead], -1)


def value_range(*arrays: Array) -> Limits:
    """One scale for all: 0 to 1 for what lies in it, else from the least to the greatest."""
    finite = [a[np.isfinite(a)] for a in arrays]
    low = min((float(a.min()) for a in finite if a.size), default=0.0)
    high = max((float(a.max()) for a in finite if a.size), default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0
