"""Default number of epochs: fewer rows have more.

A table of 100 rows has one or two steps per epoch, so 100 epochs would underfit.
"""

import math

LEAST_EPOCHS = 100
"""Minimum default number of epochs."""

MOST_EPOCHS = 400
"""Maximum default number of epochs, for few rows."""

LEAST_STEPS = 400
"""Minimum number of steps, within `MOST_EPOCHS`. More steps overfit a table."""

LEAST_STEPS_ANEW = 4_400
"""The same if rows are binarized again in each batch: the noise prevents overfitting."""

EPOCHS_IN_WORDS = (
    f"{LEAST_EPOCHS}; for few rows enough for {LEAST_STEPS} steps, or {LEAST_STEPS_ANEW:,} if they "
    f"are binarized in each batch, at most {MOST_EPOCHS}"
)


def default_epochs(steps_per_epoch: int, *, is_anew: bool) -> int:
    """The default number of epochs.

    Args:
        steps_per_epoch: steps per epoch.
        is_anew: whether the training rows are binarized again in each batch.
    """
    wanted = math.ceil((LEAST_STEPS_ANEW if is_anew else LEAST_STEPS) / steps_per_epoch)
    return min(max(LEAST_EPOCHS, wanted), MOST_EPOCHS)
