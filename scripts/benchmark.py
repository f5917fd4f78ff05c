"""Times training and inference of the networks, beside PyTorch, Keras and TF-Slim.

    python scripts/benchmark.py --networks=mobilenet_v1 --networks=resnet50_keras --against=keras

Each contender runs in its own process (`benchmark_contenders.py`). They take turns, one at a time,
so that other load on the machine affects all alike. One of them is the roof: the network's
convolutions and matrix products alone, which shows how much time everything else takes.

With --modes=input, the batches of the input pipeline are measured, without a network:

    python scripts/benchmark.py --modes=input --networks=resnet50_torchvision --folder=photos \
      --augmentations=none --augmentations=rand_augment --against=torch --against=keras

The roof is then reading and decoding alone. `benchmark_inputs.py` says what each does.

Images per second (the median over the rounds) are printed and appended to `results/benchmark.csv`,
one row per contender. What the file has already, of the same commit, is not measured again, so that
the program can be stopped and started. PyTorch is not a dependency of the project: create an
environment for it (`python -m venv torch && torch/bin/pip install torch timm`) and pass its Python.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import functools
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

import benchmark_contenders
import benchmark_inputs
import benchmark_results
from absl import flags

from slim_zoo.config import command_line
from slim_zoo.config import option as options

FLAGS = flags.FLAGS

_SETTLE_SECONDS = 0.2  # A contender's threads keep spinning for a moment after it finishes.
_ALL = 'all'
_SECONDS_A_TURN = 2.0
_PHOTOS_A_TURN = 1024  # Of the input pipeline, which starts anew each time.
_AGAINST = ('torch', 'torch_compile', 'keras', 'tf_slim')
# What tells one measurement from another.
_KEY = ('commit', 'processor', 'device', 'threads', 'network', 'mode', 'batch_size', 'image_size',
        'dtype', 'xla', 'photos', 'augmentation', 'contender')


def define_flags() -> None:
  """Defines the flags; not on import, since other programs define flags with the same names."""
  flags.DEFINE_multi_string('networks', ['mobilenet_v1'], 'Networks to measure; all measures '
                            'every network.')
  flags.DEFINE_multi_enum('modes', ['training', 'inference'], list(benchmark_contenders.MODES),
                          'What to measure.')
  options.define_path('folder', None, 'Directory with one folder of photos per class, for '
                      '--modes=input.')
  flags.DEFINE_multi_enum('augmentations', ['none'], list(benchmark_inputs.AUGMENTATIONS),
                          'Beside the random crop and flip, for --modes=input.')
  flags.DEFINE_multi_enum('dtypes', ['float32'], ['float32', 'bfloat16', 'float16'],
                          'Types that layers compute in.')
  flags.DEFINE_multi_enum('xla', ['off'], ['off', 'on'], 'Whether XLA compiles the networks that '
                          'run on TensorFlow.')
  flags.DEFINE_multi_integer('batch_sizes', [32], 'Images per step.', lower_bound=1)
  flags.DEFINE_multi_enum('against', [], list(_AGAINST), 'What to compare with, where it has the '
                          'network. torch is timm in PyTorch.')
  options.define_path('torch_python', None, 'Python of an environment with PyTorch and timm.')
  flags.DEFINE_integer('rounds', 7, 'Number of turns per contender.', lower_bound=1)
  flags.DEFINE_integer('image_size', None, 'Height and width of the images; by default those of '
                       'the network.', lower_bound=1)
  flags.DEFINE_integer('threads', None, 'Threads per contender; by default one per core.',
                       lower_bound=1)
  flags.DEFINE_bool('on_cpu', False, 'Do not use GPUs.')
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
    self.peak_bytes = 0
    self._errors = tempfile.TemporaryFile(  # noqa: SIM115 (closed in `close`)
        'w+', encoding='utf-8', errors='replace')
    self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=self._errors, env=environment, text=True)

  def wait(self) -> dict:
    """Waits until the contender is ready.

    Returns:
      Its facts: `parameters`, `versions`, `seconds_to_start` and `seconds_of_first_step`.

    Raises:
      ChildProcessError: if it ended.
    """
    return self._answer()

  def seconds(self, steps: int) -> float:
    """Runs some steps and returns the seconds they took.

    Raises:
      ChildProcessError: if it ended.
    """
    with contextlib.suppress(BrokenPipeError):
      print(steps, file=self._process.stdin, flush=True)
    answer = self._answer()
    self.peak_bytes = answer['peak_bytes']
    return answer['seconds']

  def _answer(self) -> dict:
    line = self._process.stdout.readline()
    if not line:
      code = self._process.wait()
      self._errors.seek(0)
      last = (self._errors.read().strip().splitlines() or ['no output'])[-1]
      raise ChildProcessError(f'{self.name}: expected an answer. Received: exit code {code}: '
                              f'{last}')
    return json.loads(line)

  def close(self) -> None:
    """Ends it."""
    self._process.kill()
    self._process.communicate()
    self._errors.close()


def start_worker(name: str, settings: benchmark_contenders.Settings, *, threads: int,
                 torch_python: str | None, on_cpu: bool) -> Worker:
  """Starts a contender, a name in `benchmark_contenders.CONTENDERS`."""
  environment = {
      'TF_CPP_MIN_LOG_LEVEL': '2', **os.environ, 'OMP_NUM_THREADS': str(threads),
      'TF_NUM_INTRAOP_THREADS': str(threads),
      'TF_NUM_INTEROP_THREADS': str(threads), 'PYTHONPATH': str(benchmark_results.ROOT),
      **({'CUDA_VISIBLE_DEVICES': '-1'} if on_cpu else {})}
  python = torch_python if name.startswith('torch') else sys.executable
  return Worker(name, [str(python), benchmark_contenders.__file__, name,
                       json.dumps(dataclasses.asdict(settings))], environment)


def take_turns(workers: Sequence[Worker], rounds: int, *, num_steps: int | None = None
               ) -> dict[str, list[float]]:
  """Runs the workers in turn, starting each round with a different one.

  Args:
    workers: the contenders.
    rounds: number of turns of each.
    num_steps: of each turn; by default so that all turns take about two seconds.

  Returns:
    `{contender: seconds per step, one number per round}`.
  """
  steps = {worker.name: num_steps or max(1, round(_SECONDS_A_TURN / max(worker.seconds(1), 1e-4)))
           for worker in workers}
  seconds: dict[str, list[float]] = {worker.name: [] for worker in workers}
  for number in range(rounds):
    first = number % len(workers)
    for worker in (*workers[first:], *workers[:first]):
      time.sleep(_SETTLE_SECONDS)
      count = steps[worker.name]
      seconds[worker.name].append(worker.seconds(count) / count)
  return seconds


def images_a_second(seconds: Sequence[float], batch_size: int) -> tuple[float, float, float]:
  """Converts seconds per step to images per second: lower quartile, median, upper quartile."""
  rates = [batch_size / second for second in seconds]
  if len(rates) == 1:
    return (rates[0],) * 3
  low, median, high = statistics.quantiles(rates, n=4, method='inclusive')
  return low, median, high


def rows(seconds: Mapping[str, Sequence[float]], facts: Mapping[str, dict],
         common: Mapping[str, object]) -> Iterator[dict[str, object]]:
  """Yields a row of results for each contender.

  Args:
    seconds: per step and round, of each contender; 'ours' first.
    facts: what `Worker.wait` returned, and `peak_bytes`, of each.
    common: the first columns, the same in all rows.
  """
  batch_size = int(common['batch_size'])  # type: ignore[call-overload]
  own = images_a_second(seconds['ours'], batch_size)[1]
  for name, values in seconds.items():
    low, median, high = images_a_second(values, batch_size)
    fact = facts[name]
    yield {**common, 'contender': name, 'images_per_second': f'{median:.1f}',
           'lower_quartile': f'{low:.1f}', 'upper_quartile': f'{high:.1f}',
           'ours_to_this': f'{own / median:.3f}', 'parameters': fact['parameters'],
           # With the imports of its framework.
           'seconds_to_start': f'{fact["seconds_to_start"]:.2f}',
           'seconds_of_first_step': f'{fact["seconds_of_first_step"]:.2f}',
           'peak_mib': round(fact['peak_bytes'] / 2**20), 'versions': fact['versions']}


def measured(path: pathlib.Path | None) -> set[tuple[str, ...]]:
  """The keys of the rows that a file of results has."""
  if not path or not path.is_file():
    return set()
  with path.open(newline='', encoding='utf-8') as file:
    return {tuple(row.get(name) or '' for name in _KEY) for row in csv.DictReader(file)}


def contenders_of(settings: benchmark_contenders.Settings, against: Sequence[str]) -> list[str]:
  """Those that have a network and the settings: TF-Slim has float32 only, and no other has XLA."""
  if settings.mode == 'input':
    return ['ours', 'roof', *(name for name in dict.fromkeys(against)
                              if name in benchmark_inputs.CONTENDERS)]
  others = [name for name in dict.fromkeys(against)
            if settings.network in benchmark_contenders.NETWORKS[name]]
  if settings.xla:
    others = [name for name in others if name == 'keras']
  if settings.dtype != 'float32':
    others = [name for name in others if name != 'tf_slim']
  return ['ours', 'roof', *others]


def measure(settings: benchmark_contenders.Settings, contenders: Sequence[str],
            common: Mapping[str, object], *, threads: int) -> list[dict[str, object]]:
  """Measures one network in one mode, prints the results and returns them as rows.

  A contender that fails, such as Keras with a size that it does not support, has a row without
  figures.
  """
  with contextlib.ExitStack() as stack:
    workers, facts = [], {}
    for name in contenders:  # One after the other, so that each has the machine while it starts.
      worker = start_worker(name, settings, threads=threads, torch_python=FLAGS.torch_python,
                            on_cpu=FLAGS.on_cpu)
      stack.callback(worker.close)
      try:
        facts[name] = worker.wait()
      except ChildProcessError as error:
        if name == 'ours':
          raise
        print(f'Left out: {error}', file=sys.stderr)
        continue
      workers.append(worker)
    seconds = take_turns(workers, FLAGS.rounds, num_steps=max(
        1, _PHOTOS_A_TURN // settings.batch_size) if settings.mode == 'input' else None)
    for worker in workers:
      facts[worker.name]['peak_bytes'] = worker.peak_bytes
  common = {**common, **_columns(settings), 'rounds': FLAGS.rounds}
  found = list(rows(seconds, facts, common))
  of_mode = (f'augmentation {settings.augmentation}, photos: {common["photos"]}'
             if settings.mode == 'input' else f'{settings.dtype}, XLA {common["xla"]}')
  print(f'\n{settings.network}, {settings.mode}: batch {settings.batch_size}, '
        f'{settings.image_size}×{settings.image_size}, {of_mode}, {threads} threads, '
        f'{FLAGS.rounds} rounds')
  print(f'  {"":13} images/s  (quartiles)         ours to it  start  first step  memory')
  for row in found:
    quartiles = f'({row["lower_quartile"]} to {row["upper_quartile"]})'
    print(f'  {row["contender"]:13} {row["images_per_second"]:>8}  {quartiles:18} '
          f'{row["ours_to_this"]:>10}  {row["seconds_to_start"]:>4} s  '
          f'{row["seconds_of_first_step"]:>8} s  {row["peak_mib"]:>5} MiB', flush=True)
  return found + [{**dict.fromkeys(found[0], ''), **common, 'contender': name}
                  for name in contenders if name not in facts]


def _columns(settings: benchmark_contenders.Settings) -> dict[str, object]:
  columns = {**dataclasses.asdict(settings), 'xla': 'on' if settings.xla else 'off',
             'photos': describe(settings.folder) if settings.folder else ''}
  del columns['folder']
  return columns


@functools.cache
def describe(folder: str) -> str:
  """Says how many photos a folder has, and their median size in bytes."""
  sizes = [path.stat().st_size for path in pathlib.Path(folder).glob('*/*') if path.is_file()]
  if not sizes:
    raise ValueError(f'--folder={folder}: expected one folder of photos per class. Received: no '
                     'file in any folder.')
  return f'{len(sizes)} of {statistics.median(sizes) / 1e3:.0f} kB'


def settings_of(networks: Sequence[str]) -> Iterator[benchmark_contenders.Settings]:
  """Yields what the flags ask for, in turn."""
  from nets import nets_factory
  for network, mode, batch_size in itertools.product(
      *map(dict.fromkeys, (networks, FLAGS.modes, FLAGS.batch_sizes))):
    net = nets_factory.get_net(network)
    settings = benchmark_contenders.Settings(
        network, mode, batch_size, FLAGS.image_size or net.image_size, net.channels)
    if mode == 'input':
      for augmentation in dict.fromkeys(FLAGS.augmentations):
        yield dataclasses.replace(settings, folder=FLAGS.folder, augmentation=augmentation)
    else:
      for dtype, xla in itertools.product(dict.fromkeys(FLAGS.dtypes), dict.fromkeys(FLAGS.xla)):
        yield dataclasses.replace(settings, dtype=dtype, xla=xla == 'on')


def main() -> None:
  """Measures everything that was asked for and appends the rows to the results."""
  if not FLAGS.torch_python and any(name.startswith('torch') for name in FLAGS.against):
    raise ValueError('--against=torch: expected --torch_python, a Python with PyTorch and timm. '
                     'Received: none.')
  if 'input' in FLAGS.modes and not FLAGS.folder:
    raise ValueError('--modes=input: expected --folder, a directory with one folder of photos per '
                     'class. Received: none.')
  command_line.import_tensorflow_quietly()
  import tensorflow as tf

  from nets import nets_factory
  threads = FLAGS.threads or len(os.sched_getaffinity(0))
  gpus = [] if FLAGS.on_cpu else tf.config.list_physical_devices('GPU')
  device = tf.config.experimental.get_device_details(gpus[0])['device_name'] if gpus else 'CPU'
  common = {'commit': benchmark_results.commit(), 'processor': benchmark_results.processor(),
            'device': device, 'threads': threads}
  results = pathlib.Path(FLAGS.results) if FLAGS.results else None
  networks = nets_factory.list_nets() if _ALL in FLAGS.networks else FLAGS.networks
  for settings in settings_of(networks):
    there = measured(results)
    contenders = contenders_of(settings, FLAGS.against)
    keys = {name: {**common, **_columns(settings), 'contender': name} for name in contenders}
    if all(tuple(str(keys[name][column]) for column in _KEY) in there for name in contenders):
      continue
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
    found = measure(settings, contenders, {'date': date, **common}, threads=threads)
    if results:
      benchmark_results.append(results, found)


if __name__ == '__main__':
  define_flags()
  benchmark_results.run(main)
