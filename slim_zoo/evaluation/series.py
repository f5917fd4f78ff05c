"""The checkpoints of a run, evaluated one after the other."""

from __future__ import annotations

import csv
import os
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
  if not path or path.startswith(published.PREFIX):
    raise ValueError('--checkpoint_path: expected the directory of a run, for --all_checkpoints '
                     f'and --watch. Received: {path or "none"}.')
  if not waits or os.path.isfile(path) or os.path.exists(f'{path}.index'):
    _check(path)
  done: set[str] = set()
  is_first, says = True, True
  while True:
    found = _found(path)
    pending = [prefix for prefix in found if prefix not in done]
    if is_first and pending:
      if not all_of_them:
        pending = pending[-1:]
      is_first = False
      done.update(found)
    for prefix in pending:
      done.add(prefix)
      yield prefix
    if not waits:
      return
    if pending or says:
      print(f'Waiting for {"a" if is_first else "another"} checkpoint in {path}. Interrupt this '
            'program to end it.', flush=True)
      says = False
    if not pending:
      wait(_SECONDS)


def _check(path: str) -> None:
  """Stops if a path is not a directory with checkpoints."""
  if not _found(path):
    raise ValueError('--checkpoint_path: expected the directory of a run, with checkpoints, for '
                     f'--all_checkpoints and --watch. Received: {path}.')


def _found(path: str) -> list[str]:
  """Lists the complete checkpoints in a directory."""
  folder = pathlib.Path(path)
  if not folder.is_dir():
    return []
  folder = checkpoint_files.last_phase(folder) or folder
  names = {*checkpoint_files.listed(folder), *checkpoint_files.numbered(folder)}
  return sorted(names, key=lambda prefix: (checkpoint_files.step_of(prefix), prefix))


def exists(prefix: str) -> bool:
  """Returns whether a checkpoint is still there; a run removes its old ones."""
  return os.path.exists(f'{prefix}.index') or os.path.isfile(prefix)


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
