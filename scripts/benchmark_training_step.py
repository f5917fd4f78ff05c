"""Times the training step of `alexnet_v2` in this project, TF-Slim and PyTorch, on the CPU.

    python scripts/benchmark_training_step.py --torch_python=/path/to/python

Each contender runs in its own process (`benchmark_contenders.py`). They take turns, one at a time,
so that other load on the machine affects all alike. Modes: `all` trains every layer, `head` only
`fc8` behind a frozen trunk, `inference` nothing.

The median over the rounds is printed and appended to `results/benchmark_training_step.csv`, one row
per contender. PyTorch is not a dependency of the project: create an environment for it
(`python -m venv torch && torch/bin/pip install torch numpy`) and pass its Python.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import benchmark_contenders
import benchmark_results
from absl import flags

from slim_zoo.config import option as options

FLAGS = flags.FLAGS

_SETTLE_SECONDS = 0.2  # A contender's threads keep spinning for a moment after it finishes.


def define_flags() -> None:
  """Defines the flags; not on import, since other programs define flags with the same names."""
  contenders = list(benchmark_contenders.CONTENDERS)
  flags.DEFINE_multi_enum('modes', ['all', 'head'], list(benchmark_contenders.MODES),
                          'What to measure.')
  flags.DEFINE_multi_enum('contenders', None, contenders, 'Contenders to measure; by default all '
                          'that can run. Ratios are relative to the first.')
  options.define_path('torch_python', None, 'Python of an environment with PyTorch; without it, '
                         'PyTorch is left out.')
  flags.DEFINE_integer('rounds', 11, 'Number of turns per contender.', lower_bound=1)
  flags.DEFINE_integer('steps', 2, 'Steps per turn.', lower_bound=1)
  flags.DEFINE_integer('batch_size', 32, 'Images per step.', lower_bound=1)
  flags.DEFINE_integer('image_size', 224, 'Height and width of the images.', lower_bound=195)
  flags.DEFINE_integer('num_classes', 1000, 'Width of the logits.', lower_bound=2)
  flags.DEFINE_integer('threads', None, 'Threads per contender; by default one per core.',
                       lower_bound=1)
  benchmark_results.define_flags(__file__)


class Worker:
  """A contender in its own process."""

  def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]):
    """Starts the process; call `wait` before the first turn.

    Args:
      name: name of the contender, for messages.
      command: the program with its arguments.
      environment: its environment variables.
    """
    self.name = name
    self._errors = tempfile.TemporaryFile(  # noqa: SIM115 (closed in `close`)
        'w+', encoding='utf-8', errors='replace')
    self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=self._errors, env=environment, text=True)

  def wait(self) -> dict:
    """Waits until the contender is ready.

    Returns:
      Its facts: `trained`, `parameters` and `versions`.

    Raises:
      ChildProcessError: if it ended.
    """
    return json.loads(self._answer())

  def seconds(self, steps: int) -> float:
    """Runs some steps and returns the seconds they took.

    Raises:
      ChildProcessError: if it ended.
    """
    with contextlib.suppress(BrokenPipeError):
      print(steps, file=self._process.stdin, flush=True)
    return float(self._answer())

  def _answer(self) -> str:
    line = self._process.stdout.readline()
    if not line:
      code = self._process.wait()
      self._errors.seek(0)
      last = (self._errors.read().strip().splitlines() or ['no output'])[-1]
      raise ChildProcessError(f'{self.name}: expected an answer. Received: exit code {code}: '
                              f'{last}')
    return line

  def close(self) -> None:
    """Ends it."""
    self._process.kill()
    self._process.communicate()
    self._errors.close()


def start_workers(contenders: Iterable[str], settings: benchmark_contenders.Settings,
                  stack: contextlib.ExitStack, *, threads: int,
                  torch_python: str | None) -> list[Worker]:
  """Starts the contenders.

  Args:
    contenders: names in `benchmark_contenders.CONTENDERS`.
    settings: what they run.
    stack: closes them on exit.
    threads: threads per contender.
    torch_python: Python of an environment with PyTorch.
  """
  environment = {
      'TF_CPP_MIN_LOG_LEVEL': '2', **os.environ, 'CUDA_VISIBLE_DEVICES': '-1',
      'OMP_NUM_THREADS': str(threads), 'TF_NUM_INTRAOP_THREADS': str(threads),
      'PYTHONPATH': str(benchmark_results.ROOT)}
  workers = []
  for name in contenders:
    python = torch_python if name == 'pytorch' else sys.executable
    workers.append(Worker(
        name, [python, benchmark_contenders.__file__, name,
               json.dumps(dataclasses.asdict(settings))], environment))
    stack.callback(workers[-1].close)
  return workers


def take_turns(workers: Sequence[Worker], rounds: int, steps: int) -> dict[str, list[float]]:
  """Runs the workers in turn, starting each round with a different one.

  Returns:
    `{contender: seconds per step, one number per round}`.
  """
  seconds = {worker.name: [] for worker in workers}
  for number in range(rounds):
    first = number % len(workers)
    for worker in (*workers[first:], *workers[:first]):
      time.sleep(_SETTLE_SECONDS)
      seconds[worker.name].append(worker.seconds(steps) / steps)
  return seconds


def check_equal_work(facts: Mapping[str, dict]) -> None:
  """Checks that all contenders have the same numbers of parameters and of trained ones.

  Args:
    facts: `{contender: its facts}`, from `Worker.wait`.

  Raises:
    ValueError: if they do not.
  """
  sizes = {name: (fact['trained'], fact['parameters']) for name, fact in facts.items()}
  if len(set(sizes.values())) > 1:
    raise ValueError('Expected the same numbers of all and of trained parameters. '
                     f'Received: {sizes}.')


def images_a_second(seconds: Mapping[str, Sequence[float]],
                    batch_size: int) -> dict[str, tuple[float, float, float]]:
  """Converts seconds per step to images per second.

  Args:
    seconds: `{contender: seconds per step}`.
    batch_size: images per step.

  Returns:
    `{contender: (lower quartile, median, upper quartile)}`.
  """
  rates = {name: [batch_size / second for second in values] for name, values in seconds.items()}
  return {name: tuple(statistics.quantiles(values, n=4, method='inclusive'))
          if len(values) > 1 else (values[0],) * 3 for name, values in rates.items()}


def rows(rates: Mapping[str, tuple[float, float, float]], common: Mapping[str, object],
         versions: Mapping[str, str]) -> Iterator[dict[str, object]]:
  """Yields a row of results for each contender.

  Args:
    rates: from `images_a_second`; ratios are relative to the first.
    common: the first columns, the same in all rows.
    versions: `{contender: versions}`.
  """
  first = next(iter(rates.values()))[1]
  for name, (low, median, high) in rates.items():
    yield {**common, 'contender': name, 'images_per_second': f'{median:.1f}',
           'lower_quartile': f'{low:.1f}', 'upper_quartile': f'{high:.1f}',
           'ratio': f'{median / first:.2f}', 'versions': versions[name]}


def choose(contenders: Sequence[str] | None, torch_python: str | None) -> list[str]:
  """Chooses the contenders; prints a line if PyTorch is left out.

  Raises:
    ValueError: if PyTorch is requested without --torch_python.
  """
  if contenders and 'pytorch' in contenders and not torch_python:
    raise ValueError('--contenders=pytorch: expected --torch_python, a Python with PyTorch. '
                     'Received: none.')
  if contenders:
    return list(dict.fromkeys(contenders))
  if not torch_python:
    print('PyTorch is left out: --torch_python is not set.')
  return [name for name in benchmark_contenders.CONTENDERS if torch_python or name != 'pytorch']


def measure(contenders: Sequence[str], settings: benchmark_contenders.Settings,
            common: Mapping[str, object], *, threads: int) -> list[dict[str, object]]:
  """Measures one mode, prints the results and returns them as rows."""
  with contextlib.ExitStack() as stack:
    workers = start_workers(contenders, settings, stack, threads=threads,
                            torch_python=FLAGS.torch_python)
    facts = {worker.name: worker.wait() for worker in workers}
    check_equal_work(facts)
    seconds = take_turns(workers, FLAGS.rounds, FLAGS.steps)
  common = {**common, **dataclasses.asdict(settings), 'rounds': FLAGS.rounds, 'steps': FLAGS.steps}
  found = list(rows(images_a_second(seconds, settings.batch_size), common,
                    {name: fact['versions'] for name, fact in facts.items()}))
  fact = facts[contenders[0]]
  print(f'\n{settings.mode}: {fact["trained"]:,} of {fact["parameters"]:,} parameters trained, '
        f'batch {settings.batch_size}, {threads} threads, '
        f'{FLAGS.rounds} rounds of {FLAGS.steps} steps')
  print(f'  {"":14} images/s  (quartiles)       ratio')
  for row in found:
    quartiles = f'({row["lower_quartile"]} to {row["upper_quartile"]})'
    print(f'  {row["contender"]:14} {row["images_per_second"]:>8}  {quartiles:16}  {row["ratio"]}',
          flush=True)
  return found


def main() -> None:
  """Measures each mode and appends the rows to the results."""
  contenders = choose(FLAGS.contenders, FLAGS.torch_python)
  cores = len(os.sched_getaffinity(0))
  threads = FLAGS.threads or cores
  common = {'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'commit': benchmark_results.commit(), 'cores': cores, 'threads': threads}
  for mode in dict.fromkeys(FLAGS.modes):
    settings = benchmark_contenders.Settings(mode, FLAGS.batch_size, FLAGS.image_size,
                                             FLAGS.num_classes)
    found = measure(contenders, settings, common, threads=threads)
    if FLAGS.results:
      benchmark_results.append(pathlib.Path(FLAGS.results), found)


if __name__ == '__main__':
  define_flags()
  benchmark_results.run(main)
