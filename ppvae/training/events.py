"""Rows of ``metrics.csv`` as TensorBoard events."""

import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import gethostname
from typing import Any

from ppvae.run.store import append_bytes


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The values of a row of ``metrics.csv`` by tag, such as ``elbo/valid``."""
    names = "elbo", "reconstruction", "kl", "objective", "beta", "lr", "active_units"
    return {f"{name}/{row['split']}": row[name] for name in names if row[name] is not None}


class Events:
    """A writer of events, with a new file each time a fit is resumed.

    They are not written by torch, whose writer thread would print a traceback for a full disk.

    Args:
        folder: the run directory; events go to its folder ``tensorboard``.
        step: steps taken before; events of a killed process after this step are hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        name = f"events.out.tfevents.{time.time_ns()}.{gethostname()}.{os.getpid()}"
        self._file = folder / "tensorboard" / name
        self._write(
            [
                Event(wall_time=time.time(), file_version="brain.Event:2"),
                Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)),
            ]
        )

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the values of some rows."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        events = []
        for row in rows:
            values = [Summary.Value(tag=tag, simple_value=v) for tag, v in scalars(row).items()]
            summary = Summary(value=values)
            events.append(Event(wall_time=time.time(), step=row["step"], summary=summary))
        self._write(events)

    def _write(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        records = io.BytesIO()
        writer = RecordWriter(records)
        for event in events:
            writer.write(event.SerializeToString())
        append_bytes(self._file, records.getvalue())
