"""Lists the training runs below a directory: accuracy, time, state, and the flags that differ.

    python scripts/list_runs.py runs
    python scripts/list_runs.py runs --csv=runs.csv

A run is finished, running, stopped by a signal (the same command continues it), failed, or lost: it
was killed, or its machine failed. This is unknown for runs of older versions, and if files are
damaged. Flags are those of the command line, where they differ. A run in phases has the accuracy
and the step of its last phase.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import tabulate
from absl import flags

from files.reasons import short_reason
from files.replacing import replacing
from slim_zoo.config import command_line, flag_values, programs
from slim_zoo.config import option as options
from slim_zoo.training import run_folder, run_state

FLAGS = flags.FLAGS

_CHECKPOINT = re.compile(r'model\.ckpt-([0-9]{1,18})\.json')
_MOST_DIGITS = 18  # Of a step.
_PHASE = re.compile(r'phase_[0-9]+')
_OF_A_RUN = re.compile(r'best|phase_[0-9]+')  # Folders in that of a run.
_COLUMNS = ('directory', 'network', 'metric', 'best', 'last', 'step', 'seconds', 'state', 'message')
_METRIC, _OF_SEVERAL_LABELS = 'top_1', 'mean_average_precision'
_LEAST_WIDTH = 12  # Of a column whose text is wrapped.


@dataclasses.dataclass
class Run:
  """One row.

  Attributes:
    directory: relative to the one that is listed.
    network: its name.
    flags: those that were given, by name; None if they are not known.
    metric: what the accuracies are.
    best, last: accuracies of validations; None without any.
    step: the last one.
    seconds: wall time of all starts together.
    state: see the help of this program.
    messages: why, and what is wrong with the files.
  """
  directory: str
  network: str = ''
  flags: dict[str, Any] | None = None
  metric: str = _METRIC
  best: float | None = None
  last: float | None = None
  step: int | None = None
  seconds: float | None = None
  state: str = 'unknown'
  messages: list[str] = dataclasses.field(default_factory=list)


def define_flags() -> None:
  """Defines the flags of this program."""
  options.define_path('csv', None, 'A .csv file for the table.', is_written=True)


def find(root: pathlib.Path) -> list[Run]:
  """Finds and reads the runs below a directory, in the order of their names.

  Raises:
    OSError: if the directory itself cannot be read.
  """
  os.listdir(root)
  found = []

  def add_unreadable(error: OSError) -> None:
    place = pathlib.Path(error.filename)
    found.append(Run(_relative(place, root), messages=[f'{place}: {short_reason(error)}']))

  for name, folders, files in os.walk(root, onerror=add_unreadable):
    if run_state.FILE in files or 'metrics.csv' in files or any(
        os.path.exists(os.path.join(name, folder, 'metrics.csv'))
        for folder in folders if _PHASE.fullmatch(folder)):
      folders[:] = [folder for folder in folders if not _OF_A_RUN.fullmatch(folder)]
      found.append(read(pathlib.Path(name), root))
  return sorted(found, key=lambda run: [
      (part.isdecimal(), int(part) if part.isdecimal() else part)
      for part in re.split(r'([0-9]+)', run.directory)])


def read(folder: pathlib.Path, root: pathlib.Path) -> Run:
  """Reads what small files say about a run; what is wrong with them is in its messages."""
  run = Run(_relative(folder, root))
  for read_part in (_read_state, _read_measurements):
    try:
      read_part(run, folder)
    except (OSError, ValueError) as error:
      run.messages.append(' '.join(str(error).split()))
  return run


def _relative(folder: pathlib.Path, root: pathlib.Path) -> str:
  return str(folder.relative_to(root))


def _read_state(run: Run, folder: pathlib.Path) -> None:
  """Reads how a run stands."""
  is_locked = run_folder.is_locked(folder)
  run.state = run_state.RUNNING if is_locked else 'unknown'
  record = run_state.read(folder)
  if record is None:
    if not is_locked:
      run.messages.append(f'no {run_state.FILE}; runs of older versions have none')
    return
  run.flags, run.state = record.flags, record.state
  # A network that was not named is that of the starting weights.
  run.network = str(record.flags.get('model_name') or (
      '' if record.flags.get('checkpoint_path') else _default('model_name')))
  run.messages += [record.message] if record.message else []
  if is_locked and record.state != run_state.RUNNING:  # It has just begun or ended.
    run.state, run.messages = run_state.RUNNING, []
  run.seconds = record.seconds_until(time.time() if is_locked else run_state.last_sign(folder))
  if record.state == run_state.RUNNING and not is_locked:
    run.state = 'lost' if is_locked is False else 'unknown'
    run.messages.append(
        f'was process {record.process} on {record.host}, started {record.started}'
        + ('' if is_locked is False else '; it may be running, as this file system has no locks'))


def _read_measurements(run: Run, folder: pathlib.Path) -> None:
  """Reads accuracies and steps of a run, of its last phase if it has several."""
  part = [part for part in run_state.parts(folder)
          if (part / 'metrics.csv').exists() or part == folder][-1:]
  if not part:
    return
  saved = max((int(found[1]) for name in os.listdir(part[0])
               if (found := _CHECKPOINT.fullmatch(name))), default=None)
  run.step = saved
  settled = _read_flags(run, part[0] / f'model.ckpt-{saved}.json') if saved is not None else {}
  columns, rows = _read_rows(part[0] / 'metrics.csv')
  measured = [int(row[columns.index('step')]) for row in rows[-1:]]
  run.step = max([*measured, *([] if saved is None else [saved])], default=None)
  values = _values(columns, rows, _METRIC)
  if not values:
    other = str(settled.get('best_metric') or _METRIC)
    other = _OF_SEVERAL_LABELS if other == _METRIC else other
    values = _values(columns, rows, other)
    run.metric = other if values else _METRIC
  finite = [value for value in values if math.isfinite(value)]
  run.last = values[-1] if values else None
  run.best = (min if run.metric == 'loss' else max)(finite) if finite else None


def _read_flags(run: Run, path: pathlib.Path) -> dict[str, Any]:
  """Reads the network and the settled flags from a checkpoint's metadata."""
  try:
    saved = json.loads(path.read_bytes())
    run.network, settled = str(saved.get('model_name', run.network)), dict(saved.get('flags', {}))
  except (AttributeError, OSError, TypeError, ValueError, RecursionError) as error:
    run.messages.append(f'{path} is damaged ({short_reason(error)})')
    return {}
  if run.flags is None:  # Which of them were given is not known.
    run.flags = {name: value for name, value in settled.items()
                 if name in _OPTIONS and value != _default(name)}
  return settled


def _read_rows(path: pathlib.Path) -> tuple[list[str], list[list[str]]]:
  """Reads the columns and the complete rows of `metrics.csv`; the last one may be half written."""
  if not path.exists():
    return ['step'], []
  # A machine crash may leave zeros at the end.
  text = path.read_text(encoding='utf-8', errors='replace').replace('\0', '')
  try:
    columns, *rows = [*csv.reader(text.splitlines())] or [[]]
  except csv.Error as error:
    raise ValueError(f'{path} is damaged ({error})') from error
  if 'step' not in columns:
    raise ValueError(f'{path} is damaged (no column "step")')
  count, step = len(columns), columns.index('step')
  return columns, [row for row in rows if len(row) == count and row[step].isdecimal()
                   and len(row[step]) <= _MOST_DIGITS]


def _values(columns: Sequence[str], rows: Sequence[Sequence[str]], metric: str) -> list[float]:
  """Returns the measurements of the validations."""
  name, values = f'validation_{metric}', []
  if name in columns:
    place = columns.index(name)
    for text in (row[place] for row in rows if row[place]):  # Rows of training have none.
      with contextlib.suppress(ValueError):
        values.append(float(text))
  return values


_OPTIONS = flag_values.options_of(programs.Train)


def _default(name: str) -> Any:
  return _OPTIONS[name].default if name in _OPTIONS else None


def _text(value: Any) -> str:
  """Returns the value of a flag as on the command line."""
  if isinstance(value, float):
    return f'{value:.12g}'
  return '' if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
  """Returns the flags that differ between runs, besides the network's name.

  A flag that was not given has its default.

  Returns:
    `{name: values}`, with one value for each run; '' for None, and if the flags are not known.
  """
  known = [run.flags for run in runs if run.flags is not None]
  names = sorted({name for given in known for name in given} - {'model_name'})
  return {name: ['' if run.flags is None else _text(run.flags.get(name, _default(name)))
                 for run in runs]
          for name in names
          if len({_text(given.get(name, _default(name))) for given in known}) > 1}


def write_csv(path: str, runs: Sequence[Run]) -> None:
  """Writes all runs to a file, with one column for each flag that differs."""
  of_flags = differing(runs)
  # Names of directories need not be UTF-8.
  with replacing(path) as aside, open(aside, 'w', newline='', encoding='utf-8',
                                      errors='surrogateescape') as file:
    writer = csv.writer(file)
    writer.writerow([*_COLUMNS[:2], *of_flags, *_COLUMNS[2:]])
    for run, *values in zip(runs, *of_flags.values(), strict=True):
      row = dataclasses.asdict(run) | {'message': '; '.join(run.messages)}
      if run.seconds is not None:
        row['seconds'] = f'{run.seconds:.0f}'
      writer.writerow([row[name] for name in _COLUMNS[:2]] + values
                      + [row[name] for name in _COLUMNS[2:]])


def render(runs: Sequence[Run], width: int) -> str:
  """Returns the table as text.

  Args:
    runs: the rows.
    width: of the screen, in characters. If it is too narrow, directories and flags share a column,
      one below the other.
  """
  of_flags = differing(runs)
  lines = [[shlex.quote(f'--{name}={value}')
            for name, value in zip(of_flags, values, strict=True) if value]
           for values in zip(*of_flags.values(), strict=True)] or [[] for _ in runs]
  cells = [[run.network, _accuracy(run.best), _accuracy(run.last),
            '' if run.step is None else str(run.step), _duration(run.seconds), run.state]
           for run in runs]
  headers = ['network', 'best', 'last', 'step', 'time', 'state']
  # The library leaves room for two more characters than a header has.
  room = width - sum(2 + max([len(header) + 2, *map(len, column)])
                     for header, *column in zip(headers, *cells, strict=True))
  first = [[run.directory, ' '.join(words)] for run, words in zip(runs, lines, strict=True)]
  names = ['directory', 'flags'] if of_flags else ['directory']
  if sum(max(map(len, column)) + 2 for column in zip(*first, strict=True)) > room:
    first = [['\n'.join(_wrap(run.directory, room) + [
        part for word in words for part in _wrap(word, room)])]
        for run, words in zip(runs, lines, strict=True)]
    names = ['directory, flags'] if of_flags else ['directory']
  table = tabulate.tabulate(
      [left[:len(names)] + right for left, right in zip(first, cells, strict=True)],
      names + headers, 'simple', disable_numparse=True,
      colalign=['left'] * (len(names) + 1) + ['right'] * 4 + ['left'])
  metrics = sorted({run.metric for run in runs if run.best is not None})
  notes = [f'best and last: {" or ".join(metrics)} of the validations'] if metrics else []
  notes += [f'{run.directory} ({run.state}): {"; ".join(run.messages)}'
            for run in runs if run.messages]
  return '\n'.join([table, '', *notes]).rstrip()


def _wrap(text: str, width: int) -> list[str]:
  """Breaks a directory or a flag into lines, after punctuation if possible."""
  width = max(width, _LEAST_WIDTH)
  lines = ['']
  for piece in re.findall(rf'[^,/ =]{{1,{width - 1}}}[,/ =]?|[,/ =]', text):
    if len(lines[-1]) + len(piece) > width:
      lines.append('')
    lines[-1] += piece
  return lines


def _accuracy(value: float | None) -> str:
  return '' if value is None else f'{value:.4f}'


def _duration(seconds: float | None) -> str:
  return '' if seconds is None else str(datetime.timedelta(seconds=round(seconds)))


def main(arguments: Sequence[str]) -> None:
  """Prints the table, or writes it."""
  if len(arguments) != 1:
    raise ValueError('Expected: one directory with runs, such as runs. Received: '
                     f'{" ".join(arguments) or "none"}.')
  root = pathlib.Path(options.expand(arguments[0]))
  target = FLAGS.csv
  if target and not pathlib.Path(target).absolute().parent.is_dir():
    raise ValueError(f'--csv={target}: expected a file in a directory that exists. Received: one '
                     'in a directory that does not. Make it first.')
  runs = find(root)
  if target:
    write_csv(target, runs)
    print(f'{len(runs)} runs below {root} are in {target}.')
  elif not runs:
    print(f'There are no runs below {root}.')
  else:
    # In a file or a pipe, one line per run.
    print(render(runs, shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize))


if __name__ == '__main__':
  define_flags()
  command_line.run(main, takes_arguments=True, uses_tensorflow=False)
