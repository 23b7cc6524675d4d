"""The TensorBoard tracker, which writes event files to the directory `tensorboard` of the run. The only importer of
tensorboardX: of the writer below its SummaryWriter, in whose thread nobody would notice that the disk is full."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from psgd.core.files import to_json
from psgd.jobs.trackers.tracker import Scalars

DIRECTORY = "tensorboard"  # in that of the run
OURS = "events.out.tfevents.*.psgd-*"  # the names of its files


@final
class TensorBoard:
    def __init__(self, directory: Path, config: str) -> None:
        """`directory`: of the run; `config`: the text of its config.yaml. Raises what tensorboardX and the disk do."""
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._summary, self._events = summary, event_pb2
        place = directory / DIRECTORY
        place.mkdir(exist_ok=True)
        # With a number: the library's names differ only in seconds. Files are read in the order of their names.
        self._writer = EventsWriter(str(place / "events"), f".psgd-{sum(1 for _ in place.iterdir()):03d}")
        self._config, self._step = config, 0

    def begin(self, step: int) -> None:
        session = self._events.SessionLog(status=self._events.SessionLog.START)
        # Whoever reads the files leaves out what others of them have from this step on.
        self._write(step + 1 if step else 0, session_log=session)
        self._text("config", f"```yaml\n{self._config}\n```", step)

    def write(self, rows: Sequence[Scalars]) -> None:
        for step, values in rows:
            for name, value in values.items():
                self._write(step, summary=self._summary.scalar(name, value))
            self._step = step
        self._writer.flush()

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            self._text("summary", f"```json\n{to_json(summary, indent=2)}\n```", self._step)
        self._writer.close()

    def _text(self, name: str, text: str, step: int) -> None:
        self._write(step, summary=self._summary.text(name, text))
        self._writer.flush()

    def _write(self, step: int, **what: Any) -> None:
        self._writer.write_event(self._events.Event(wall_time=time.time(), step=step, **what))
