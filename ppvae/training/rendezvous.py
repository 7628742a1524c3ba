"""Rendezvous of the processes of `torchrun`: a part of its store, new for each start.

The store outlives the processes. Restarted processes would find the addresses of dead ones in it,
and wait for them forever (pytorch/pytorch#135712). The number of restarts cannot name the part,
because each machine counts its own.
"""

import time
from datetime import timedelta
from uuid import uuid4

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous


def fresh_store(rank: int, size: int, timeout: timedelta) -> Store:
    """Agree on a new name, and return the part of the launcher's store under it.

    Rank 0 chooses the name. Each other rank asks for it under a new random key, so that it cannot
    read the answer of an earlier start.

    Args:
        rank: the rank of this process.
        size: the number of processes.
        timeout: how long processes wait for each other.
    """
    store, *_ = next(rendezvous("env://", rank, size, timeout=timeout))
    store = PrefixStore("ppvae", store)
    word = uuid4().hex
    if rank:
        store.set(f"asks/{rank}", word)
        name = store.get(f"answer/{word}").decode()
        store.set(f"{name}/heard/{rank}", "")
        return PrefixStore(name, store)
    heard = [f"{word}/heard/{other}" for other in range(1, size)]
    while not store.check(heard):
        for other in range(1, size):
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", word)
        time.sleep(0.05)
    return PrefixStore(word, store)
