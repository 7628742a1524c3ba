"""Lifelines: a connection from each process of a fit to the first, which breaks when one dies.

The system closes the connections of a dead process, however it died, so the first process knows at
once and tells the others. A machine that lost power is detected within half a minute. Errors of
several processes after one died are reported as the death of that one.
"""

import contextlib
import hmac
import json
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from ppvae.errors import InputError

if TYPE_CHECKING:  # it takes seconds to import
    from lightning_fabric import Fabric

PATIENCE = 1.0
"""Seconds from the first error to the verdict: a death may be known after its consequences."""

_ARRIVAL = 20.0
"""Maximum time for all processes to connect, in seconds, right after a broadcast."""

_LONGEST = 2**16
"""Maximum size of a message in bytes."""


@dataclass(frozen=True)
class Member:
    """A process of a fit: its rank, its machine, and its ids there."""

    rank: int
    local_rank: int
    host: str
    pid: int


@dataclass(frozen=True)
class Verdict:
    """Why all processes of a fit end.

    Attributes:
        sentence: the message to the user.
        by: the first process that failed.
        is_dead: whether it died; else it ended itself with a message.
    """

    sentence: str
    by: Member
    is_dead: bool

    def is_told_by(self, member: Member) -> bool:
        """Whether this process prints it: one per machine does; host names may be equal."""
        is_first_gone = self.is_dead and self.by.rank == member.rank - member.local_rank
        return member.local_rank == (1 if is_first_gone else 0)


class Lifeline:
    """The lifeline of one process; created in all processes at the same time.

    Args:
        fabric: the processes, launched.
        way_out: how to resume after a death; called then.

    Attributes:
        own: this process.

    Raises:
        InputError: if a connection cannot be made.
    """

    def __init__(self, fabric: "Fabric", way_out: Callable[[], str]) -> None:
        self._way_out, self._world = way_out, fabric.world_size
        self.own = Member(fabric.global_rank, fabric.local_rank, socket.gethostname(), os.getpid())
        self._verdict: Verdict | None = None
        self._is_settled, self._is_closed = threading.Event(), threading.Event()
        self._complaint: str | None = None
        self._peers: dict[socket.socket, Member] = {}
        if fabric.is_global_zero:
            self._take_in(fabric)
        else:
            self._connect(fabric)
        work = self._hear_all if fabric.is_global_zero else self._hear_first
        self._thread = threading.Thread(target=work, name="lifeline", daemon=True)
        self._thread.start()

    def _take_in(self, fabric: "Fabric") -> None:
        """First process: accept the connections of all others."""
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        with socket.create_server(
            ("", 0), family=family, backlog=self._world, dualstack_ipv6=dual
        ) as server:
            token = secrets.token_hex(16)
            fabric.broadcast((server.getsockname()[1], token, asdict(self.own)))
            until = time.monotonic() + _ARRIVAL
            while len(self._peers) < self._world - 1:
                server.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    connection, _ = server.accept()
                except OSError as error:
                    raise InputError(
                        f"{self._world - 1 - len(self._peers)} of {self._world} processes did not "
                        f"reach a port of {self.own.host}: let the machines of a fit connect to "
                        "each other on all ports"
                    ) from error
                self._greet(connection, token)

    def _greet(self, connection: socket.socket, token: str) -> None:
        """Accept a connection if it has the token, since anyone may connect to a port."""
        connection.settimeout(5.0)
        try:
            said = json.loads(_line(connection))
            if not hmac.compare_digest(str(said.pop("token")), token):
                raise ValueError
            member = Member(**said)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            connection.close()
            return
        _keep_alive(connection)
        self._peers[connection] = member

    def _connect(self, fabric: "Fabric") -> None:
        """Other processes: connect to the first."""
        found: Any = fabric.broadcast(None)
        port, token, first = found
        try:
            connection = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=30.0)
            connection.sendall(_message(asdict(self.own) | {"token": token}))
        except OSError as error:
            raise InputError(
                f"rank {self.own.rank} cannot reach port {port} of {os.environ['MASTER_ADDR']} "
                f"({error.strerror or error}): let the machines of a fit connect to each other on "
                "all ports"
            ) from error
        _keep_alive(connection)
        self._peers[connection] = Member(**first)

    def complain(self, sentence: str, patience: float) -> Verdict | None:
        """Tell the others that this process failed, and wait for the verdict."""
        self._complaint = sentence
        if self.own.rank:
            self._send({"complaint": sentence})
        return self.verdict(patience)

    def verdict(self, patience: float | None) -> Verdict | None:
        """Why all processes end, if known in time."""
        self._is_settled.wait(patience)
        return self._verdict

    def close(self) -> None:
        """Close the connections after the work, or after the verdict."""
        self._is_closed.set()
        self._is_settled.set()
        self._send({"left": True})
        if self.own.rank:
            for connection in self._peers:
                with contextlib.suppress(OSError):  # wakes the listening thread
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)

    def wait_closed(self, patience: float) -> bool:
        """Whether `close` is called in time."""
        return self._is_closed.wait(patience)

    def _send(self, message: Mapping[str, Any]) -> None:
        for connection in list(self._peers):
            with contextlib.suppress(OSError):  # it is dead: its listener knows
                connection.sendall(_message(message))

    def _settle(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._is_settled.set()

    def _hear_first(self) -> None:
        """Listen to the first process; if it ends, all end."""
        ((connection, first),) = self._peers.items()
        with connection:
            while not self._is_closed.is_set():
                said = _heard(connection)
                if said is None and not self._is_closed.is_set():
                    self._settle(Verdict(self._death(first), first, is_dead=True))
                if said is None or "left" in said:
                    return
                if "sentence" in said:
                    self._settle(Verdict(**said | {"by": Member(**said["by"])}))
                    return

    def _hear_all(self) -> None:
        """First process: listen to all others, decide why all end, and tell them."""
        found: Verdict | None = None
        until = 0.0
        with selectors.DefaultSelector() as selector:
            for connection in self._peers:
                selector.register(connection, selectors.EVENT_READ)
            while not self._is_closed.is_set():
                complaints = []
                for key, _ in selector.select(0.1):
                    connection = cast("socket.socket", key.fileobj)
                    member, said = self._peers[connection], _heard(connection)
                    if said is None:
                        complaints.append(Verdict(self._death(member), member, is_dead=True))
                    elif "complaint" in said:
                        complaints.append(Verdict(said["complaint"], member, is_dead=False))
                    if said is None or "left" in said:
                        selector.unregister(connection)
                        del self._peers[connection]
                        connection.close()
                if self._complaint is not None:
                    complaints.append(Verdict(self._complaint, self.own, is_dead=False))
                for each in complaints:
                    until = until or time.monotonic() + PATIENCE
                    if found is None or _rank_of(each) < _rank_of(found):
                        found = each
                if found is not None and (found.is_dead or time.monotonic() >= until):
                    self._send(asdict(found))
                    self._settle(found)
                    self._is_closed.wait()
        for connection in self._peers:
            connection.close()

    def _death(self, member: Member) -> str:
        return (
            f"rank {member.rank} of {self._world} processes (pid {member.pid} on {member.host}) "
            f"was killed; {self._way_out()}"
        )


def _rank_of(verdict: Verdict) -> tuple[bool, int]:
    """Order of verdicts: a death comes before errors, which follow from it."""
    return not verdict.is_dead, verdict.by.rank


def _keep_alive(connection: socket.socket) -> None:
    """Detect a dead machine after 10 s, and 3 times 5 s."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # on Linux
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _message(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _line(connection: socket.socket) -> bytes:
    """A line, read byte by byte, since the next message follows."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) > _LONGEST:
            raise ConnectionError
        line += byte
    return line


def _heard(connection: socket.socket) -> dict[str, Any] | None:
    """The next message; ``None``: the other process is dead."""
    try:
        said = json.loads(_line(connection))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None
