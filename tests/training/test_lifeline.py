"""The lifeline: all processes detect at once that one dies or fails, and print it once."""

import contextlib
import queue
import socket
import threading
from typing import Any

import pytest

from ppvae.training import lifeline
from ppvae.training.lifeline import Lifeline, Member, Verdict

WORLD = 3


class Fabric:
    """The part of Fabric that a lifeline uses: a rank, and a broadcast."""

    def __init__(self, rank: int, said: "queue.Queue[Any]") -> None:
        self.global_rank = self.local_rank = rank
        self.world_size, self.is_global_zero, self._said = WORLD, rank == 0, said

    def broadcast(self, value: Any) -> Any:
        if not self.is_global_zero:
            return self._said.get(timeout=10)
        for _ in range(WORLD - 1):
            self._said.put(value)
        return value


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    said: queue.Queue[Any] = queue.Queue()
    made: dict[int, Lifeline] = {}

    def make(rank: int) -> None:
        made[rank] = Lifeline(Fabric(rank, said), lambda: "start it again")  # type: ignore[arg-type]  # all that it asks for

    threads = [threading.Thread(target=make, args=(rank,)) for rank in range(WORLD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    yield [made[rank] for rank in range(WORLD)]
    for line in made.values():
        line.close()


def cut(line: Lifeline) -> None:
    """Close the connections like the system after a kill."""
    line._is_closed.set()  # it does nothing more
    if line.own.rank == 0:
        line._thread.join(5.0)
    for connection in list(line._peers):
        with contextlib.suppress(OSError):  # it is closed by then
            connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_the_others_know_who_died_although_they_suffer_first(
    victim: int, lines: list[Lifeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifeline, "PATIENCE", 0.3)
    others = [line for line in lines if line.own.rank != victim]
    sufferer = others[-1]
    waiting = threading.Thread(target=sufferer.complain, args=("connection reset by peer", 5.0))
    if victim:  # of the first process all know by its end alone
        waiting.start()
    cut(lines[victim])
    for line in others:
        verdict = line.verdict(10.0)
        assert verdict is not None
        assert verdict.is_dead
        assert verdict.by.rank == victim
        assert f"rank {victim} of {WORLD} processes (pid" in verdict.sentence
        assert verdict.sentence.endswith("was killed; start it again")
    assert [line.own.rank for line in others if line.verdict(0).is_told_by(line.own)] == [  # type: ignore[union-attr]  # asserted above
        1 if victim == 0 else 0
    ]
    if victim:
        waiting.join(10)


def test_of_several_that_fail_the_first_is_told(
    lines: list[Lifeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifeline, "PATIENCE", 0.3)
    for line in (lines[2], lines[1]):
        line.complain(f"no data of rank {line.own.rank}", 0.0)
    found = [line.verdict(10.0) for line in lines]
    assert all(verdict == found[0] for verdict in found)
    assert found[0] is not None
    assert found[0].sentence == "no data of rank 1"
    assert not found[0].is_dead


def test_processes_that_leave_in_peace_end_nothing(lines: list[Lifeline]) -> None:
    lines[1].close()
    lines[0].close()
    assert lines[2].verdict(1.0) is None
    lines[2].close()


def test_a_stranger_at_the_port_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    said: queue.Queue[Any] = queue.Queue()
    made: list[Lifeline] = []
    first = threading.Thread(
        target=lambda: made.append(Lifeline(Fabric(0, said), str))  # type: ignore[arg-type]  # all that it asks for
    )
    first.start()
    port, token, _ = said.get(timeout=10)
    for knock in (b"GET / HTTP/1.0\r\n\r\n", b'{"token": "guessed", "rank": 1}\n', b"[]\n"):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(knock)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
    said.put((port, token, made))
    friends = []
    for rank in (1, 2):
        friend = socket.create_connection(("127.0.0.1", port))
        own = {"rank": rank, "local_rank": rank, "host": "b", "pid": 1, "token": token}
        friend.sendall(lifeline._message(own))
        friends.append(friend)
    first.join(10)
    assert sorted(member.rank for member in made[0]._peers.values()) == [1, 2]
    made[0].close()
    for friend in friends:
        friend.close()


def test_on_each_machine_one_process_tells() -> None:
    a0, a1, b0, b1 = (Member(i, i % 2, "localhost", i) for i in range(4))
    of_b1, of_a0 = Verdict("", b1, is_dead=True), Verdict("", a0, is_dead=True)
    assert [of_b1.is_told_by(member) for member in (a0, a1, b0)] == [True, False, True]
    assert [of_a0.is_told_by(member) for member in (a1, b0, b1)] == [True, True, False]
