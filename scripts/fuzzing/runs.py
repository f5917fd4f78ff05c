"""Reads damaged copies of files in processes that may crash or hang."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from scripts.fuzzing.samples import SAMPLES

LOADED, REFUSED, CRASHED, HUNG = 'loaded', 'refused', 'crashed', 'hung'
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MEMORY = 2 ** 34  # Per process, including TensorFlow itself.
_PROGRAM = (sys.executable, '-m', 'scripts.fuzzing.reader_process')
_IMAGE_PROGRAM = (sys.executable, '-m', 'scripts.fuzzing.image_process')
_HANG_SIGNALS = (signal.SIGALRM, signal.SIGXCPU)


@dataclasses.dataclass(frozen=True)
class Result:
  """The result of reading one damaged copy.

  Attributes:
    number: number of the copy.
    outcome: `LOADED`, `REFUSED`, `CRASHED` or `HUNG`; any error except the expected one, with a
      printable message, counts as a crash.
    reason: the message, or what ended the process.
    events: audit events that the file should not have caused.
    milliseconds: time to read it.
    mebibytes: peak growth of the process's memory.
  """
  number: int
  outcome: str
  reason: str
  events: tuple[str, ...] = ()
  milliseconds: float = 0.0
  mebibytes: float = 0.0


def read_damaged(name: str, count: int, *, seed: str = '', first: int = 0,
                 seconds: int = 120, program: Sequence[str] = _PROGRAM) -> Iterator[Result]:
  """Reads damaged copies of a sample of weights.

  Args:
    name: a name of `SAMPLES`.
    count: number of copies.
    seed: seed of the damage.
    first: number of the first copy.
    seconds: time after which a file counts as hanging.
    program: command that reads them; see `reader_process`.

  Yields:
    A result for each copy.

  Raises:
    ChildProcessError: if even the intact file cannot be read, or if a reader wrote a file.
  """
  with tempfile.TemporaryDirectory() as folder:
    files, scratch, home = (pathlib.Path(folder, part) for part in ('files', 'tmp', 'home'))
    for path in (files, scratch, home):
      path.mkdir()
    content = SAMPLES[name].make()

    def write() -> None:
      for file, data in content.items():
        (files / file).write_bytes(data)

    yield from _results([*program, name, str(files), seed], range(first, first + count), seconds,
                        scratch=scratch, home=home, prepare=write)
    written = {*os.listdir(files)} - {*content} | {*os.listdir(home)}
    if written:
      raise ChildProcessError(f'{name}: files were written: {", ".join(sorted(written))}')


def decode_damaged(name: str, count: int, *, seed: str = '', first: int = 0, seconds: int = 120,
                   program: Sequence[str] = _IMAGE_PROGRAM) -> Iterator[Result]:
  """Decodes damaged image files of a format, like `read_damaged`.

  Args:
    name: a name of `image_samples.FORMATS`.
    count, seed, first, seconds: see `read_damaged`.
    program: command that decodes them; see `image_process`.

  Yields:
    A result for each file.

  Raises:
    ChildProcessError: if even the intact files cannot be decoded.
  """
  with tempfile.TemporaryDirectory() as folder:
    yield from _results([*program, name, seed], range(first, first + count), seconds,
                        scratch=pathlib.Path(folder), home=pathlib.Path(folder))


def _results(command: Sequence[str], numbers: range, seconds: int, *, scratch: pathlib.Path,
             home: pathlib.Path, prepare: Callable[[], None] = lambda: None) -> Iterator[Result]:
  """Yields a result for each number; starts a new process whenever one dies.

  Args:
    command: command to which the numbers and the limits are appended.
    numbers: numbers of the damaged copies.
    seconds: time after which a file counts as hanging.
    scratch, home: the process's temporary and working directories.
    prepare: called before each process.
  """
  number = numbers.start
  while number < numbers.stop:
    prepare()
    arguments = [*command, *map(str, (number, numbers.stop, seconds, _MEMORY))]
    for result in _read_until_it_dies(arguments, end=numbers.stop, seconds=seconds,
                                      scratch=scratch, home=home):
      yield result
      number = result.number + 1


def _read_until_it_dies(command: Sequence[str], *, end: int, seconds: int, scratch: pathlib.Path,
                        home: pathlib.Path) -> Iterator[Result]:
  """Yields the results of one process that reads the copies below `end`."""
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
      raise ChildProcessError('Expected a process that reads the intact file. Received: '
                              f'{" ".join(command)}: exit code {code}: {errors.read()[-2000:]}')
