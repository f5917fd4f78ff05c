"""Measures the training step of `alexnet_v2` here, in TF-Slim and in PyTorch, on the CPU.

    python scripts/benchmark_training_step.py --torch_python=/path/to/python

Each contender is a process of its own (`benchmark_contenders.py`). They take turns, round by
round, so that what else the machine does hits all alike; while one computes the others wait.
Modes: `all` trains every layer, `head` only `fc8` behind a frozen trunk, `inference` nothing.

The median over the rounds is printed and added to `results/benchmark_training_step.csv`, one row a
contender. PyTorch is not among the dependencies: make an environment for it
(`python -m venv torch && torch/bin/pip install torch numpy`) and name its Python.
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

_SETTLE_SECONDS = 0.2  # The threads of a contender that has finished spin for a moment.


def define_flags() -> None:
  """Defines the flags: only where this is the program, for its names are those of others."""
  contenders = list(benchmark_contenders.CONTENDERS)
  flags.DEFINE_multi_enum('modes', ['all', 'head'], list(benchmark_contenders.MODES),
                          'What to measure.')
  flags.DEFINE_multi_enum('contenders', None, contenders, 'By default all that can run; ratios '
                          'are to the first.')
  options.define_path('torch_python', None, 'The Python that has PyTorch; without it PyTorch is '
                         'left out.')
  flags.DEFINE_integer('rounds', 11, 'Turns of each contender.', lower_bound=1)
  flags.DEFINE_integer('steps', 2, 'Steps in a turn.', lower_bound=1)
  flags.DEFINE_integer('batch_size', 32, 'Images in a step.', lower_bound=1)
  flags.DEFINE_integer('image_size', 224, 'Their height and width.', lower_bound=195)
  flags.DEFINE_integer('num_classes', 1000, 'Width of the logits.', lower_bound=2)
  flags.DEFINE_integer('threads', None, 'Threads of each contender; by default one per core.',
                       lower_bound=1)
  benchmark_results.define_flags(__file__)


class Worker:
  """A contender in its own process."""

  def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]):
    """Starts it; `wait` for it before the first turn.

    Args:
      name: of the contender, for messages.
      command: the program with its arguments.
      environment: its environment variables.
    """
    self.name = name
    self._errors = tempfile.TemporaryFile(  # noqa: SIM115 (closed in `close`)
        'w+', encoding='utf-8', errors='replace')
    self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=self._errors, env=environment, text=True)

  def wait(self) -> dict:
    """Waits until it is ready.

    Returns:
      What it says of itself: `trained`, `parameters` and `versions`.

    Raises:
      ChildProcessError: if it ended.
    """
    return json.loads(self._answer())

  def seconds(self, steps: int) -> float:
    """Lets it make some steps, and returns the seconds that they took.

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
      last = (self._errors.read().strip().splitlines() or ['it said nothing'])[-1]
      raise ChildProcessError(f'{self.name}: expected an answer. Received: its end, code {code}: '
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
    settings: what they compute.
    stack: ends them.
    threads: threads of each.
    torch_python: the Python for PyTorch.
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
  """Lets the workers compute one after the other, each round beginning with another.

  Returns:
    `{contender: seconds a step, one number a round}`.
  """
  seconds = {worker.name: [] for worker in workers}
  for number in range(rounds):
    first = number % len(workers)
    for worker in (*workers[first:], *workers[:first]):
      time.sleep(_SETTLE_SECONDS)
      seconds[worker.name].append(worker.seconds(steps) / steps)
  return seconds


def check_equal_work(facts: Mapping[str, dict]) -> None:
  """Checks that all contenders train as many numbers of as large a network.

  Args:
    facts: `{contender: what it says of itself}`.

  Raises:
    ValueError: if they do not.
  """
  sizes = {name: (fact['trained'], fact['parameters']) for name, fact in facts.items()}
  if len(set(sizes.values())) > 1:
    raise ValueError('Expected the same numbers of trained and of all parameters everywhere. '
                     f'Received: {sizes}.')


def images_a_second(seconds: Mapping[str, Sequence[float]],
                    batch_size: int) -> dict[str, tuple[float, float, float]]:
  """Turns seconds a step into images a second.

  Args:
    seconds: `{contender: seconds a step}`.
    batch_size: images in a step.

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
    rates: from `images_a_second`; ratios are to the first.
    common: the columns that all rows share; they come first.
    versions: `{contender: versions}`.
  """
  first = next(iter(rates.values()))[1]
  for name, (low, median, high) in rates.items():
    yield {**common, 'contender': name, 'images_per_second': f'{median:.1f}',
           'lower_quartile': f'{low:.1f}', 'upper_quartile': f'{high:.1f}',
           'ratio': f'{median / first:.2f}', 'versions': versions[name]}


def choose(contenders: Sequence[str] | None, torch_python: str | None) -> list[str]:
  """Chooses the contenders, and says if PyTorch is not among them.

  Raises:
    ValueError: if PyTorch is asked for without a Python that has it.
  """
  if contenders and 'pytorch' in contenders and not torch_python:
    raise ValueError('--contenders=pytorch: expected --torch_python, the Python that has PyTorch. '
                     'Received: none.')
  if contenders:
    return list(dict.fromkeys(contenders))
  if not torch_python:
    print('Without PyTorch: --torch_python names no Python that has it.')
  return [name for name in benchmark_contenders.CONTENDERS if torch_python or name != 'pytorch']


def measure(contenders: Sequence[str], settings: benchmark_contenders.Settings,
            common: Mapping[str, object], *, threads: int) -> list[dict[str, object]]:
  """Measures one mode, prints the results, and returns the rows of results."""
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
  print(f'\n{settings.mode}: {fact["trained"]:,} of {fact["parameters"]:,} numbers trained, batch '
        f'{settings.batch_size}, {threads} threads, {FLAGS.rounds} rounds of {FLAGS.steps} steps')
  print(f'  {"":14} images/s  (quartiles)       ratio')
  for row in found:
    quartiles = f'({row["lower_quartile"]} to {row["upper_quartile"]})'
    print(f'  {row["contender"]:14} {row["images_per_second"]:>8}  {quartiles:16}  {row["ratio"]}',
          flush=True)
  return found


def main() -> None:
  """Measures each mode, and adds the rows to the results."""
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
