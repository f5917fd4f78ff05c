"""Times transfer learning on frozen layers on the CPU: uncached, cached, and in PyTorch.

    python scripts/benchmark_transfer_learning.py --job=mobilenet_v1 --dataset_dir=photos \
      --checkpoint_path=mobilenet_v1_1.0_224.ckpt --torch_python=/path/to/python

The jobs train with Adam, without augmentation, and validate after every epoch:

- `mobilenet_v1`: the classifier of `mobilenet_v1`;
- `vgg_16_pool`: a classifier on the means of `vgg_16`'s last feature maps (`--head=pool,fc`);
- `vgg_16_fc`: `fc6` to `fc8` of `vgg_16`, from scratch.

The contenders alternate. `uncached` is train_image_classifier.py with --cache_features=off, which
computes the frozen layers in every epoch; `cached` uses --cache_features=disk, first with an empty
cache (the row `cold`), then again (`warm`); `pytorch` is the same job in PyTorch
(`benchmark_transfer_torch.py`). Each runs in its own process. The measured wall time excludes
imports and includes reading the data, building and restoring the network, training, validating and
saving. All except `warm` start with an empty cache, so ours also decode every image once to find
broken ones.

If epochs take very long, --uncached_epochs=2 or --pytorch_epochs=2 runs only two; the time of all
--epochs is then extrapolated from the last one, and the row says so. The median over the rounds is
printed and appended to `results/benchmark_transfer_learning.csv`, one row per contender;
`top_1_then` is the accuracy after the number of epochs that all of them ran. PyTorch is not a
dependency of the project: create an environment for it (`python -m venv torch && torch/bin/pip
install torch numpy pillow`) and pass its Python.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import benchmark_results
import benchmark_transfer_torch
from absl import flags

from slim_zoo.config import option as options

FLAGS = flags.FLAGS

_CONTENDERS = {'uncached': ('uncached',), 'cached': ('cold', 'warm'), 'pytorch': ('pytorch',)}
_SECONDS = re.compile(r'^Finished at step \d+, ([\d.]+) s after the start', re.MULTILINE)
# The same for all contenders. The trainer's own defaults are TF-Slim's, which PyTorch lacks.
_FLAGS = ('--dataset_name=folder', '--optimizer=adam', '--opt_epsilon=1e-8', '--weight_decay=0',
          '--learning_rate_decay_type=fixed', '--augmentations_per_image=0', '--max_to_keep=1')


@dataclasses.dataclass(frozen=True)
class Job:
  """What to train.

  Attributes:
    model_name: name of the network.
    new: scopes that are trained from scratch.
    learning_rate: Adam's learning rate.
    head, head_from: values of the flags.
  """
  model_name: str
  new: tuple[str, ...] = ()
  learning_rate: float = 0.001
  head: str | None = None
  head_from: str | None = None

  def flags(self) -> list[str]:
    """Returns the flags of train_image_classifier.py."""
    scopes = ','.join(self.new)
    chosen = {'model_name': self.model_name, 'learning_rate': self.learning_rate,
              'head': self.head, 'head_from': self.head_from,
              'trainable_scopes': 'head' if self.head else scopes,
              'checkpoint_exclude_scopes': None if self.head else scopes}
    return [f'--{name}={value}' for name, value in chosen.items() if value is not None]


_FC = ('vgg_16/fc6', 'vgg_16/fc7', 'vgg_16/fc8')
JOBS = {
    'mobilenet_v1': Job('mobilenet_v1', ('MobilenetV1/Logits',)),
    'vgg_16_pool': Job('vgg_16', _FC, head='pool,fc', head_from='vgg_16/pool5'),
    'vgg_16_fc': Job('vgg_16', _FC, learning_rate=0.0001),
}
_WITHOUT_TORCH = ('vgg_16_fc',)


@dataclasses.dataclass(frozen=True)
class Measured:
  """One run of a contender.

  Attributes:
    seconds: duration of the run.
    top_1: accuracy after each epoch.
    last_epoch: seconds the last epoch took; None if there was only one.
    versions: versions of Python and the framework.
  """
  seconds: float
  top_1: tuple[float, ...]
  last_epoch: float | None
  versions: str


def define_flags() -> None:
  """Defines the flags; not on import, since other programs define flags with the same names."""
  flags.DEFINE_enum('job', 'mobilenet_v1', list(JOBS), 'What to train.')
  options.define_path('dataset_dir', None, 'Directory with one folder of photos per class.')
  options.define_path('checkpoint_path', None, 'Checkpoint to restore.')
  flags.DEFINE_enum('checkpoint_channel_order', None, ['rgb', 'bgr'],
                    'As for train_image_classifier.py.')
  flags.DEFINE_multi_enum('contenders', None, list(_CONTENDERS), 'Contenders to measure; by '
                          'default all that can run. Ratios are relative to the first.')
  options.define_path('torch_python', None, 'Python of an environment with PyTorch; without it, '
                         'PyTorch is left out.')
  flags.DEFINE_integer('rounds', 1, 'Number of runs per contender.', lower_bound=1)
  flags.DEFINE_integer('epochs', 30, 'Epochs to train.', lower_bound=1)
  for name in ('uncached', 'pytorch'):
    flags.DEFINE_integer(f'{name}_epochs', None, f'Epochs to run for {name}; by default all.',
                         lower_bound=2)
  flags.DEFINE_integer('batch_size', 32, 'Images per step.', lower_bound=1)
  flags.DEFINE_integer('image_size', 224, 'Height and width of the images.', lower_bound=32)
  benchmark_results.define_flags(__file__)


def train_here(cache: pathlib.Path, epochs: int, mode: str) -> Measured:
  """Runs train_image_classifier.py.

  Args:
    cache: cache folder for the run.
    epochs: number of epochs.
    mode: value of --cache_features.

  Raises:
    ChildProcessError: if it fails.
  """
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, str(benchmark_results.ROOT / 'train_image_classifier.py'), *_FLAGS,
               *JOBS[FLAGS.job].flags(), f'--train_dir={folder}', f'--cache_features={mode}',
               f'--dataset_dir={FLAGS.dataset_dir}', f'--checkpoint_path={FLAGS.checkpoint_path}',
               f'--epochs={epochs}', f'--batch_size={FLAGS.batch_size}',
               f'--train_image_size={FLAGS.image_size}']
    if FLAGS.checkpoint_channel_order:
      command.append(f'--checkpoint_channel_order={FLAGS.checkpoint_channel_order}')
    printed = _run(command, {'XDG_CACHE_HOME': str(cache)})
    top_1, times = read_validations(pathlib.Path(folder))
  versions = [f'{name} {importlib.metadata.version(name)}' for name in ('tensorflow', 'tf-slim')]
  return Measured(float(_SECONDS.search(printed)[1]), top_1,
                  times[-1] - times[-2] if len(times) > 1 else None,
                  ', '.join([f'python {platform.python_version()}', *versions]))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
  """Runs a program and returns its output."""
  ended = subprocess.run(command, capture_output=True, text=True, check=False,
                         env={**os.environ, 'CUDA_VISIBLE_DEVICES': '-1', **environment})
  if ended.returncode:
    last = (ended.stderr.strip().splitlines() or ['no output'])[-1]
    raise ChildProcessError(f'{pathlib.Path(command[1]).name}: expected it to succeed. Received: '
                            f'exit code {ended.returncode}: {last}')
  return ended.stdout


def read_validations(folder: pathlib.Path) -> tuple[tuple[float, ...], list[float]]:
  """Reads a run's top-1 accuracy after each epoch and the seconds at which it was measured."""
  import tensorflow as tf
  with open(folder / 'metrics.csv', newline='', encoding='utf-8') as file:
    top_1 = [float(row['validation_top_1']) for row in csv.DictReader(file)
             if row['validation_top_1']]
  events = tf.data.TFRecordDataset([str(path) for path in folder.glob('events.out.*')])
  parsed = [tf.compat.v1.Event.FromString(event) for event in events.as_numpy_iterator()]
  return tuple(top_1), [event.wall_time for event in parsed for value in event.summary.value
                        if value.tag == 'validation/top_1']


def train_in_torch(epochs: int, scratch: pathlib.Path) -> Measured:
  """Runs the same job in PyTorch.

  Args:
    epochs: number of epochs.
    scratch: folder for the program's inputs, shared by all rounds.

  Raises:
    ChildProcessError: if it fails.
  """
  job = JOBS[FLAGS.job]
  arrays, examples = scratch / 'slim_zoo.weights.npz', scratch / 'examples.json'
  if not examples.exists():
    write_weights(FLAGS.checkpoint_path, job, arrays,
                  channel_order=FLAGS.checkpoint_channel_order)
    examples.write_text(json.dumps(list_examples(FLAGS.dataset_dir)), encoding='utf-8')
  settings = benchmark_transfer_torch.Settings(
      job.model_name, str(arrays), str(examples), epochs, FLAGS.batch_size, FLAGS.image_size,
      job.learning_rate)
  printed = _run([FLAGS.torch_python, benchmark_transfer_torch.__file__,
                  json.dumps(dataclasses.asdict(settings))], {})
  found = json.loads(printed.splitlines()[-1])
  times = found['epoch_seconds']
  return Measured(found['seconds'], tuple(found['top_1']), times[-1] if len(times) > 1 else None,
                  found['versions'])


def write_weights(checkpoint: str, job: Job, path: pathlib.Path, *,
                  channel_order: str | None = None) -> None:
  """Writes the restored variables as arrays, under our names."""
  import numpy as np

  from nets import nets_factory, outline
  from slim_zoo.weights import restore, sources
  net = nets_factory.get_net(job.model_name)
  traced = outline.trace(job.model_name, net.classes,
                         image_shape=[net.image_size, net.image_size, net.channels])
  shapes = {**traced.trainable, **traced.others}
  opened = sources.open_weights(checkpoint, channel_order=channel_order)
  report = restore.plan(opened.source, shapes, opened.takes(job.model_name, shapes),
                        exclude=job.new)
  np.savez(path, **{row.name: restore.value(row, opened.source) for row in report.rows
                    if row.status == restore.RESTORED})


def list_examples(dataset_dir: str) -> dict[str, list]:
  """Lists the trainer's splits: {split: [[path, label], …]}."""
  from datasets import dataset_factory
  splits = {name: dataset_factory.get_dataset('folder', name, dataset_dir)
            for name in ('train', 'validation')}
  return {name: [[os.path.abspath(path), label] for path, label in
                 zip(split.examples.files, split.labels.tolist(), strict=True)]
          for name, split in splits.items()}


def take_turns(contenders: Sequence[str], scratch: pathlib.Path) -> dict[str, list[Measured]]:
  """Runs the contenders in turn, starting each round with a different one.

  Returns:
    `{row: its runs}`; 'cached' gives the rows 'cold' and 'warm'.
  """
  found = {name: [] for contender in contenders for name in _CONTENDERS[contender]}
  epochs = {name: min(chosen or FLAGS.epochs, FLAGS.epochs) for name, chosen in (
      ('uncached', FLAGS.uncached_epochs), ('cached', None), ('pytorch', FLAGS.pytorch_epochs))}

  def add(name: str, measured: Measured) -> None:
    print(f'  {name}: {measured.seconds:.1f} s for {len(measured.top_1)} epochs, top-1 '
          f'{measured.top_1[-1]:.4f}', flush=True)
    found[name].append(measured)

  for turn in range(FLAGS.rounds):
    first = turn % len(contenders)
    for contender in (*contenders[first:], *contenders[:first]):
      if contender == 'pytorch':
        add('pytorch', train_in_torch(epochs[contender], scratch))
        continue
      with tempfile.TemporaryDirectory() as cache:
        for name in _CONTENDERS[contender]:
          add(name, train_here(pathlib.Path(cache), epochs[contender],
                               'disk' if contender == 'cached' else 'off'))
  return found


def total_seconds(measured: Measured, epochs: int) -> float:
  """Returns the seconds of all epochs; each that was not run counts as the last that was.

  Raises:
    ValueError: if the duration of the last epoch is needed but unknown.
  """
  missing = epochs - len(measured.top_1)
  if missing > 0 and measured.last_epoch is None:
    raise ValueError('Expected at least two epochs to extrapolate from. Received: one, whose time '
                     'includes the start.')
  return measured.seconds + (missing * measured.last_epoch if missing > 0 else 0)


def rows(found: Mapping[str, Sequence[Measured]], common: Mapping[str, object],
         epochs: int) -> Iterator[dict[str, object]]:
  """Yields a row of results for each contender.

  Args:
    found: `{contender: its runs}`; ratios are relative to the first.
    common: the first columns, the same in all rows.
    epochs: number of epochs that the times are given for.
  """
  seconds = {name: statistics.median(total_seconds(run, epochs) for run in runs)
             for name, runs in found.items()}
  fewest = min(len(run.top_1) for runs in found.values() for run in runs)
  for name, runs in found.items():
    run = len(runs[0].top_1)
    yield {**common, 'contender': name, 'seconds': f'{seconds[name]:.1f}',
           'computed': '' if run >= epochs else f'epochs {run + 1} to {epochs}',
           'times_faster': f'{next(iter(seconds.values())) / seconds[name]:.2f}',
           'top_1': f'{statistics.median(run.top_1[-1] for run in runs):.4f}',
           'common_epochs': fewest,
           'top_1_then': f'{statistics.median(run.top_1[fewest - 1] for run in runs):.4f}',
           'versions': runs[0].versions}


def choose(contenders: Sequence[str] | None, job: str, torch_python: str | None) -> list[str]:
  """Chooses the contenders; prints a line if PyTorch is left out.

  Raises:
    ValueError: if PyTorch is requested but cannot run.
  """
  can_run = torch_python and job not in _WITHOUT_TORCH
  reason = (f'it does not support --job={job}' if job in _WITHOUT_TORCH else
            '--torch_python is not set')
  if contenders and 'pytorch' in contenders and not can_run:
    raise ValueError(f'--contenders=pytorch: {reason}. Leave PyTorch out, or change that.')
  if contenders:
    return list(dict.fromkeys(contenders))
  if not can_run:
    print(f'PyTorch is left out: {reason}.')
  return [name for name in _CONTENDERS if can_run or name != 'pytorch']


def main() -> None:
  """Measures the contenders and appends the rows to the results."""
  if not FLAGS.dataset_dir or not FLAGS.checkpoint_path:
    raise ValueError('Expected --dataset_dir and --checkpoint_path. Received: '
                     f'{FLAGS.dataset_dir or ""} and {FLAGS.checkpoint_path or ""}.')
  contenders = choose(FLAGS.contenders, FLAGS.job, FLAGS.torch_python)
  examples = list_examples(FLAGS.dataset_dir)
  common = {'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'commit': benchmark_results.commit(), 'processor': benchmark_results.processor(),
            'cores': len(os.sched_getaffinity(0)), 'job': FLAGS.job,
            'training_images': len(examples['train']),
            'validation_images': len(examples['validation']), 'image_size': FLAGS.image_size,
            'batch_size': FLAGS.batch_size, 'epochs': FLAGS.epochs, 'rounds': FLAGS.rounds}
  print(f'{FLAGS.job}: {common["training_images"]} training and {common["validation_images"]} '
        f'validation images, {FLAGS.epochs} epochs', flush=True)
  with tempfile.TemporaryDirectory() as scratch:
    found = list(rows(take_turns(contenders, pathlib.Path(scratch)), common, FLAGS.epochs))
  print(f'  {"":10} {"seconds":>10}  times faster  top-1')
  for row in found:
    print(f'  {row["contender"]:10} {row["seconds"]:>10}  {row["times_faster"]:>12}  '
          f'{row["top_1"]}  {row["computed"] and "computed: " + row["computed"]}')
  if FLAGS.results:
    benchmark_results.append(pathlib.Path(FLAGS.results), found)


if __name__ == '__main__':
  sys.path.insert(0, str(benchmark_results.ROOT))
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
  define_flags()
  benchmark_results.run(main)
