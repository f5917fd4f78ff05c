"""How a run stands, in `state.json` in its folder: running, finished, stopped or failed.

The file is written at the start and at the end. Of a run that was killed it still says that it is
running; then nobody holds the lock of the folder, see `run_folder.is_locked`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from files.reasons import short_reason
from files.replacing import replacing
from slim_zoo.config import command_line, flag_values
from slim_zoo.config.flag_values import Parsed

FILE = 'state.json'
RUNNING, FINISHED, STOPPED, FAILED = STATES = ('running', 'finished', 'stopped', 'failed')
# Flags that say nothing about how a run differs from others.
_OF_NO_INTEREST = ('train_dir', 'dry_run')
_PHASE = re.compile(r'phase_([0-9]{1,9})')


@dataclasses.dataclass(frozen=True)
class Record:
  """What is known about a run.

  Attributes:
    state: one of `STATES`.
    message: the signal or the lost worker that stopped it, or the error with which it failed.
    flags: those that the user gave, by name.
    host, process: of the last start.
    started: time of the last start, as in ISO 8601.
    seconds: wall time of all starts that have ended.
  """
  state: str
  message: str
  flags: dict[str, Any]
  host: str
  process: int
  started: str
  seconds: float

  def seconds_until(self, end: float) -> float:
    """Returns the wall time of all starts if the last one ended, or is, at a time of the epoch."""
    if self.state != RUNNING:
      return self.seconds
    return self.seconds + max(0.0, end - datetime.datetime.fromisoformat(self.started).timestamp())


def keep(main: Callable[[], int], folder: pathlib.Path, parsed: Parsed) -> int:
  """Calls the program of a run, and keeps in the run's folder how it stands.

  A disk that cannot be written to is a warning: a run does not fail for it, and an error that it
  fails with is the one that is shown.

  Args:
    main: the program; returns its exit code.
    folder: of the run; this process holds its lock.
    parsed: the command line.

  Returns:
    The exit code.

  Raises:
    Exception: what the program raises.
  """
  watch = time.monotonic()
  kept, seconds = _of_earlier_starts(folder)
  saved_before, values = _saved(folder), flag_values.values_of(parsed.config)
  flags = kept | {name: values[name] for name in sorted(parsed.given)
                  if name not in _OF_NO_INTEREST}
  now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
  record = Record(RUNNING, '', flags, socket.gethostname(), os.getpid(), now, seconds)
  _write(folder, record)

  def end(state: str, message: str = '') -> None:
    _write(folder, dataclasses.replace(
        record, state=state, message=message,
        seconds=round(seconds + time.monotonic() - watch, 1)))

  try:
    code = main()
  except KeyboardInterrupt:
    end(STOPPED, signal.SIGINT.name)
    raise
  except Exception as error:
    if _saved(folder) == saved_before:  # What was given now holds for nothing that is saved.
      record = dataclasses.replace(record, flags=kept or flags)
    is_lost = getattr(error, 'exit_code', None) == os.EX_TEMPFAIL  # The same command continues.
    end(STOPPED if is_lost else FAILED, _one_line(error))
    raise
  if code > 128:
    end(STOPPED, signal.Signals(code - 128).name)
  else:
    end(FAILED if code else FINISHED, f'exit code {code}' if code else '')
  return code


def read(folder: pathlib.Path) -> Record | None:
  """Reads the state of a run; None if the folder has none.

  Raises:
    ValueError: if the file is damaged.
    OSError: if it cannot be read.
  """
  path = folder / FILE
  try:
    text = path.read_bytes()
  except FileNotFoundError:
    return None
  try:
    entries = json.loads(text)
    record = Record(**{field.name: entries[field.name] for field in dataclasses.fields(Record)})
    datetime.datetime.fromisoformat(record.started)
    is_valid = (record.state in STATES and isinstance(record.message, str)
                and isinstance(record.flags, dict) and type(record.seconds) in (int, float))
  except (LookupError, TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'{path} is damaged ({short_reason(error)}). The next start of the run writes '
                     'it anew.') from error
  if not is_valid:
    raise ValueError(f'{path}: expected the state of a run, {", ".join(STATES)}. Received: '
                     f'{record.state!r:.80}. The next start of the run writes it anew.')
  return record


def parts(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders of the phases of a run in their order; the run's own without phases."""
  numbers = {path: int(found[1]) for path in folder.iterdir()
             if (found := _PHASE.fullmatch(path.name))}
  return sorted(numbers, key=numbers.__getitem__) or [folder]


def last_sign(folder: pathlib.Path) -> float:
  """Returns when the measurements of a run were last written, in the epoch's time; 0 for never."""
  paths = [part / 'metrics.csv' for part in parts(folder)]
  return max((path.stat().st_mtime for path in paths if path.is_file()), default=0.0)


def _of_earlier_starts(folder: pathlib.Path) -> tuple[dict[str, Any], float]:
  """Returns the flags that hold for a run from earlier starts, and the time that these took."""
  try:
    known = read(folder)
    # What was given to a start that saved nothing does not hold for the next one.
    if known is not None:
      return (known.flags if _saved(folder) else {}), known.seconds_until(last_sign(folder))
  except (OSError, ValueError) as error:
    print(f'Warning: what was known about earlier starts is lost: {error}')
  return {}, 0.0


def _saved(folder: pathlib.Path) -> set[str]:
  """Returns the checkpoints of a run."""
  return {str(path) for part in parts(folder) for path in part.glob('*.index')}


def _write(folder: pathlib.Path, record: Record) -> None:
  """Writes the state of a run, or prints a warning."""
  try:
    with replacing(folder / FILE) as aside:
      aside.write_text(json.dumps(dataclasses.asdict(record), indent=1) + '\n', encoding='utf-8')
  except OSError as error:
    print(f'Warning: the state of the run cannot be written: {error}', flush=True)


def _one_line(error: Exception) -> str:
  """Returns the message of an error, on one line."""
  text = ' '.join(command_line.message(error).split())
  is_for_users = isinstance(error, (ValueError, OSError, MemoryError))
  return text if is_for_users else f'{type(error).__name__}: {text}'
