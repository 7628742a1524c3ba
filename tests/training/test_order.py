"""The order of the training data: rows once per epoch, and labelled rows in every batch."""

import pytest
import torch

from ppvae.data import as_split
from ppvae.errors import InputError
from ppvae.training.order import Order

ROWS = 50
CPU = torch.device("cpu")
TRAIN = as_split(
    torch.zeros(ROWS, 2), torch.where(torch.arange(ROWS) % 8 == 3, torch.arange(ROWS) % 3, -1)
)


def test_each_row_passes_once_an_epoch_in_another_order_each_time() -> None:
    order = Order.of(TRAIN, 16, None, 1)
    first, again, second = (order.batches(seed, epoch, CPU) for seed, epoch in
                            ((0, 0), (0, 0), (0, 1)))  # fmt: skip
    assert [len(rows) for rows in first] == [16, 16, 16, 2]
    assert len(first) == order.steps == order.whole + 1
    assert torch.cat(first).sort().values.tolist() == list(range(ROWS))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(torch.cat(first), torch.cat(second))


def test_labelled_rows_are_in_every_batch_and_pass_in_turn() -> None:
    order = Order.of(TRAIN, 10, 3, 1)
    assert len(order.again) == ROWS // 8 + (ROWS % 8 > 3) == 6
    batches = order.batches(0, 0, CPU)
    others = torch.cat([rows[:-3] for rows in batches])
    assert others.sort().values.tolist() == order.once.tolist()
    assert [len(rows) for rows in batches] == [10] * 6 + [5]
    assert (order.steps, order.whole) == (7, 6)  # of 10 rows each without labels, 5
    again = torch.cat([rows[-3:] for rows in batches])
    for i in range(0, len(again) - 5, 6):  # all of them before one comes again
        assert again[i : i + 6].sort().values.tolist() == order.again.tolist()


def test_a_last_batch_too_small_for_all_processes_is_left_out() -> None:
    assert Order.of(TRAIN, 16, None, 2).steps == 4
    order = Order.of(TRAIN, 16, None, 3)
    assert order.steps == len(order.batches(0, 0, CPU)) == 3


def test_labelled_rows_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="`labelled=10` leaves no room in a batch of 10"):
        Order.of(TRAIN, 10, 10, 1)
    with pytest.raises(InputError, match="training data has none"):
        Order.of(as_split(torch.zeros(5, 2)), 4, 1, 1)
    with pytest.raises(InputError, match="all of the training data have one"):
        Order.of(as_split(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64)), 4, 1, 1)
