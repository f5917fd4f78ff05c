"""The checkpoints of a run, evaluated one after the other."""

from __future__ import annotations

import csv
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from files.replacing import replacing
from slim_zoo.weights import checkpoint_files, published

_SECONDS = 10.0  # Between two looks for new checkpoints.


class Row(NamedTuple):
  """The result for one checkpoint.

  Attributes:
    step: of the checkpoint.
    checkpoint: its path.
    scalars: the metrics by name.
  """
  step: int
  checkpoint: str
  scalars: Mapping[str, float]


def checkpoints(path: str, *, all_of_them: bool, waits: bool,
                wait: Callable[[float], None] = time.sleep) -> Iterator[str]:
  """Yields the checkpoints of a run, in the order of their steps.

  Args:
    path: the directory of the run; of one with phases, the last phase is used.
    all_of_them: whether to begin with the oldest one; otherwise with the newest.
    waits: whether to wait for new ones without an end, and for the first if there is none yet.
    wait: waits for a number of seconds.

  Yields:
    Their prefixes.

  Raises:
    ValueError: if there is no checkpoint, and none is waited for.
  """
  if not path or path.startswith(published.PREFIX) or checkpoint_files.exists(path) or not (
      waits or _found(path)):
    raise ValueError('--checkpoint_path: expected the directory of a run, with checkpoints, for '
                     f'--all_checkpoints and --watch. Received: {path or "none"}.')
  done: set[str] = set()
  waits_already = False
  while True:
    pending = [prefix for prefix in _found(path) if prefix not in done]
    is_start = not done
    done.update(pending)
    yield from (pending[-1:] if is_start and not all_of_them else pending)
    if not waits:
      return
    if pending or not waits_already:
      print(f'Waiting for {"another" if done else "a"} checkpoint in {path}. Press Ctrl-C to stop.',
            flush=True)
    waits_already = True
    if not pending:
      wait(_SECONDS)


def _found(path: str) -> list[str]:
  """Lists the complete checkpoints in a directory."""
  folder = pathlib.Path(path)
  if not folder.is_dir():
    return []
  folder = checkpoint_files.last_phase(folder) or folder
  names = {*checkpoint_files.listed(folder), *checkpoint_files.numbered(folder)}
  return sorted(names, key=lambda prefix: (checkpoint_files.step_of(prefix), prefix))


def write(folder: pathlib.Path, rows: Sequence[Row]) -> None:
  """Writes `checkpoints.csv` and draws `checkpoints.png`."""
  from slim_zoo.report import curves  # Imports matplotlib, which takes a moment.
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'checkpoints.csv'
  with replacing(path) as aside, \
      open(aside, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file:
    writer = csv.writer(file)
    writer.writerow(['step', *rows[0].scalars, 'checkpoint'])
    writer.writerows([row.step, *row.scalars.values(), row.checkpoint] for row in rows)
  picture = folder / 'checkpoints.png'
  curves.draw_checkpoints([(row.step, row.scalars) for row in rows], picture)
  print(f'The results so far are in {path} and {picture}.', flush=True)
