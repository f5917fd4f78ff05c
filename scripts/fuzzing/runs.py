"""Reading damaged copies of files in processes that may crash or hang."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from scripts.fuzzing.samples import SAMPLES

LOADED, REFUSED, CRASHED, HUNG = 'loaded', 'refused', 'crashed', 'hung'
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MEMORY = 2 ** 34  # Of a process, TensorFlow's own included.
_PROGRAM = (sys.executable, '-m', 'scripts.fuzzing.reader_process')
_IMAGE_PROGRAM = (sys.executable, '-m', 'scripts.fuzzing.image_process')
_HANG_SIGNALS = (signal.SIGALRM, signal.SIGXCPU)


@dataclasses.dataclass(frozen=True)
class Result:
  """What became of one damaged copy.

  Attributes:
    number: of the damage.
    outcome: `LOADED`, `REFUSED`, `CRASHED` or `HUNG`; crashed is whatever but the error that such
      a file should raise, with a message that can be shown.
    reason: the message, or what ended the process.
    events: audit events that the file should not have caused.
    milliseconds: how long the reading took.
    mebibytes: by how much the process grew at most.
  """
  number: int
  outcome: str
  reason: str
  events: tuple[str, ...] = ()
  milliseconds: float = 0.0
  mebibytes: float = 0.0


def read_damaged(name: str, count: int, *, seed: str = '', first: int = 0,
                 seconds: int = 120, program: Sequence[str] = _PROGRAM) -> Iterator[Result]:
  """Reads damaged copies of a sample.

  Args:
    name: a name of `SAMPLES`.
    count: how many.
    seed: of the damages.
    first: number of the first damage.
    seconds: after which a file counts as one that hangs.
    program: that reads them; see `reader_process`.

  Yields:
    A result for each.

  Raises:
    ChildProcessError: if even the whole file cannot be read, or if a file was left that nobody
      may write.
  """
  with tempfile.TemporaryDirectory() as folder:
    files, scratch, home = (pathlib.Path(folder, part) for part in ('files', 'tmp', 'home'))
    for path in (files, scratch, home):
      path.mkdir()
    content = SAMPLES[name].make()
    for file, data in content.items():
      (files / file).write_bytes(data)
    for results in _processes([*program, name, str(files), seed], (first, first + count), seconds,
                              scratch=scratch, home=home):
      yield from results
      # A new process finds the sample whole.
      (files / SAMPLES[name].damaged).write_bytes(content[SAMPLES[name].damaged])
    written = {*os.listdir(files)} - {*content} | {*os.listdir(home)}
    if written:
      raise ChildProcessError(f'{name}: files were written: {", ".join(sorted(written))}')


def decode_damaged(name: str, count: int, *, seed: str = '', first: int = 0, seconds: int = 120,
                   program: Sequence[str] = _IMAGE_PROGRAM) -> Iterator[Result]:
  """Decodes damaged image files of a format.

  Args:
    name: a name of `image_samples.FORMATS`.
    count: how many.
    seed: of the damages.
    first: number of the first damage.
    seconds: after which a file counts as one that hangs.
    program: that decodes them; see `image_process`.

  Yields:
    A result for each.

  Raises:
    ChildProcessError: if even the whole files cannot be decoded.
  """
  with tempfile.TemporaryDirectory() as folder:
    for results in _processes([*program, name, seed], (first, first + count), seconds,
                              scratch=pathlib.Path(folder), home=pathlib.Path(folder)):
      yield from results


def _processes(command: Sequence[str], numbers: tuple[int, int], seconds: int, *,
               scratch: pathlib.Path, home: pathlib.Path) -> Iterator[Iterator[Result]]:
  """Yields the results of one process after the other, until all numbers have theirs."""
  number, end = numbers

  def results() -> Iterator[Result]:
    nonlocal number
    arguments = [*command, *map(str, (number, end, seconds, _MEMORY))]
    for result in _read_until_it_dies(arguments, scratch, home, (end, seconds)):
      yield result
      number = result.number + 1

  while number < end:
    yield results()


def _read_until_it_dies(command: Sequence[str], scratch: pathlib.Path, home: pathlib.Path,
                        limits: tuple[int, int]) -> Iterator[Result]:
  """Yields the results of one process; `limits` are the end of its numbers and its seconds."""
  end, seconds = limits
  environment = {**os.environ, 'PYTHONPATH': str(_ROOT), 'TMPDIR': str(scratch),
                 'TF_CPP_MIN_LOG_LEVEL': '3', 'CUDA_VISIBLE_DEVICES': '-1'}
  with tempfile.TemporaryFile('w+') as errors, subprocess.Popen(
      command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
      stderr=errors, text=True) as process:
    reading, ended = None, False
    for line in process.stdout:
      if not line.startswith('{'):
        reading = int(line)
        continue
      found = json.loads(line)
      yield Result(reading, found['outcome'], found['reason'], tuple(found['events']),
                   found['milliseconds'], found['bytes'] / 2 ** 20)
      ended, reading = reading + 1 == end, None
    code = process.wait()
    if reading is not None:
      outcome = HUNG if -code in _HANG_SIGNALS else CRASHED
      reason = signal.Signals(-code).name if code < 0 else f'exit code {code}'
      yield Result(reading, outcome, reason, milliseconds=1000 * seconds * (outcome == HUNG))
    elif code or not ended:
      errors.seek(0)
      raise ChildProcessError('Expected a process that reads the whole file. Received: '
                              f'{" ".join(command)}: exit code {code}: {errors.read()[-2000:]}')
