"""Where the processes of `torchrun` meet: a part of its store that only this start of them knows.

The store outlives the processes. Processes that are started again would find the addresses of dead
ones in it, and wait for them for ever (pytorch/pytorch#135712). The number of restarts is no name
for a start: each machine counts its own.
"""

import time
from datetime import timedelta
from uuid import uuid4

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous


def fresh_store(rank: int, size: int, timeout: timedelta) -> Store:
    """Agree on a new name, and give the part of the launcher's store under it.

    Rank 0 invents the name. The others ask for it by a word that nobody used before, so that no
    answer is an old one.

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
