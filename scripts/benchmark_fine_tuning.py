"""Compares ways of fine-tuning a network on a folder of photos, on the same random splits.

    python scripts/benchmark_fine_tuning.py --dataset_dir=photos --model_name=mobilenet_v1 \
      --checkpoint_path=mobilenet_v1_1.0_224.ckpt --torch_python=/path/to/python

The contenders, each a process of its own:

- `head`: the last layer alone, the first phase of --recipe=finetune;
- `defaults`: a new last layer and all others with the default flags, which are TF-Slim's;
- `recipe`: --recipe=finetune;
- `pytorch`: all layers as fastai fine-tunes them (`benchmark_fine_tuning_torch.py`), for
  --pytorch_epochs, of `mobilenet_v1` and `efficientnet_lite0`.

Each split holds out a tenth of every class (or --validation_fraction). All start with an empty
cache. A row of each run is appended to `results/benchmark_fine_tuning.csv`. After each split, a
table has the means, and the difference of `recipe` from each other contender over all validation
images, with a 95% interval from the images' paired differences. PyTorch is not a dependency of the
project: create an environment for it (`python -m venv torch && torch/bin/pip install torch timm
pillow`) and pass its Python.
"""

from __future__ import annotations

import csv
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
from collections.abc import Callable, Mapping, Sequence

import benchmark_fine_tuning_torch
import benchmark_results
import benchmark_transfer_learning
import numpy as np
import tabulate
from absl import flags

from slim_zoo.config import option as options

FLAGS = flags.FLAGS

_TORCH_SUFFIXES = ('.pth', '.pt')
_DEFAULTS_EPOCHS = 9  # As many as the recipe chooses for the 3,303 flowers.


@dataclasses.dataclass(frozen=True)
class Split:
  """One division of the photos.

  Attributes:
    number: its number, also the seed.
    folder: for the files of its runs.
    train, validation: [(path, label)].
    class_names: by label.
  """
  number: int
  folder: pathlib.Path
  train: Sequence[tuple[str, int]]
  validation: Sequence[tuple[str, int]]
  class_names: Sequence[str]

  @property
  def list_file(self) -> pathlib.Path:
    """Path of the list, which `write` makes."""
    return self.folder / 'photos.csv'

  def write(self) -> None:
    """Writes the split as a list for --dataset_name=csv."""
    self.folder.mkdir(parents=True, exist_ok=True)
    with self.list_file.open('w', newline='', encoding='utf-8') as file:
      writer = csv.writer(file)
      writer.writerow(['image', 'label', 'split'])
      for name in ('train', 'validation'):
        writer.writerows((path, self.class_names[label], name)
                         for path, label in getattr(self, name))


def define_flags() -> None:
  """Defines this script's flags."""
  options.define_path('dataset_dir', None, 'Directory with one folder of photos per class.')
  flags.DEFINE_string('model_name', 'mobilenet_v1', 'Name of the network.')
  options.define_path('checkpoint_path', None, 'Its pretrained weights.')
  flags.DEFINE_multi_enum('contenders', list(_CONTENDERS), list(_CONTENDERS), 'What to compare.')
  flags.DEFINE_multi_integer('splits', [0, 1, 2], 'Numbers of the splits.')
  flags.DEFINE_float('validation_fraction', 0.1, 'Share of each class that is held out.')
  flags.DEFINE_list('class_sizes', [], 'Most photos to train on, of every class or class by class; '
                    'by default all.')
  flags.DEFINE_multi_string('recipe_flags', [], 'Flags beside --recipe=finetune.')
  options.define_path('torch_python', None, 'Python of an environment with PyTorch; without it, '
                      'PyTorch is left out.')
  flags.DEFINE_integer('pytorch_epochs', 8, 'Epochs of all layers in PyTorch.')
  benchmark_results.define_flags(__file__)


def split_photos(number: int, folder: pathlib.Path) -> Split:
  """Divides the photos at random, a share of each class."""
  from sklearn import model_selection

  from datasets import dataset_factory
  photos = dataset_factory.get_dataset('folder', 'train', FLAGS.dataset_dir, validation_fraction=0)
  paths = [os.path.abspath(path) for path in photos.examples.files]
  kept, held_out = model_selection.train_test_split(
      np.arange(len(paths)), test_size=FLAGS.validation_fraction, stratify=photos.labels,
      random_state=number)
  if FLAGS.class_sizes:
    sizes, labels = [int(size) for size in FLAGS.class_sizes], photos.labels[kept]
    if len(sizes) not in (1, len(photos.class_names)):
      raise ValueError(f'--class_sizes: expected one number, or one for each of the '
                       f'{len(photos.class_names)} classes. Received: {len(sizes)}.')
    sizes = sizes * len(photos.class_names) if len(sizes) == 1 else sizes
    kept = np.concatenate([kept[labels == label][:size] for label, size in enumerate(sizes)])
  train, validation = ([(paths[i], int(photos.labels[i])) for i in sorted(chosen)]
                       for chosen in (kept, held_out))
  return Split(number, folder / f'split_{number}', train, validation, photos.class_names)


def train_here(name: str, split: Split, arguments: Sequence[str]) -> list[int]:
  """Runs train_image_classifier.py; returns the label that it predicts for each photo."""
  import slim_zoo
  run = split.folder / name
  _run([sys.executable, str(benchmark_results.ROOT / 'train_image_classifier.py'),
        f'--train_dir={run}', '--dataset_name=csv', f'--dataset_dir={split.list_file}',
        f'--model_name={FLAGS.model_name}', f'--checkpoint_path={FLAGS.checkpoint_path}',
        f'--seed={split.number}', *arguments], split.folder / f'{name}.log')
  model = slim_zoo.load(str(run))
  found = model.predict([path for path, _ in split.validation], top_k=1)
  return [split.class_names.index(best[0]) for (best,) in found]


def _head(split: Split) -> list[int]:
  from nets import nets_factory
  head = ','.join(nets_factory.get_net(FLAGS.model_name).head)
  return train_here('head', split, [
      f'--checkpoint_exclude_scopes={head}', f'--trainable_scopes={head}', '--optimizer=adamw',
      '--learning_rate=0.003', '--weight_decay=3', '--learning_rate_decay_type=cosine',
      '--label_smoothing=0.1',
      '--augmentations_per_image=0', '--epochs=18', '--validation_interval_epochs=0'])


def _defaults(split: Split) -> list[int]:
  from nets import nets_factory
  head = ','.join(nets_factory.get_net(FLAGS.model_name).head)
  return train_here('defaults', split, [
      f'--checkpoint_exclude_scopes={head}', f'--epochs={_DEFAULTS_EPOCHS}',
      '--validation_interval_epochs=0'])


def _recipe(split: Split) -> list[int]:
  return train_here('recipe', split, ['--recipe=finetune', *FLAGS.recipe_flags])


def _pytorch(split: Split) -> list[int]:
  from slim_zoo.weights import torch_files
  weights, examples = split.folder / 'weights.npz', split.folder / 'examples.json'
  if pathlib.Path(FLAGS.checkpoint_path).suffix in _TORCH_SUFFIXES:
    np.savez(weights, **torch_files.read_torch(FLAGS.checkpoint_path))
  else:
    benchmark_transfer_learning.write_weights(
        FLAGS.checkpoint_path, benchmark_transfer_learning.JOBS[FLAGS.model_name], weights)
  examples.write_text(json.dumps({'train': split.train, 'validation': split.validation}),
                      encoding='utf-8')
  settings = benchmark_fine_tuning_torch.Settings(
      FLAGS.model_name, str(weights), str(examples), FLAGS.pytorch_epochs, split.number,
      str(split.folder / 'pytorch.json'))
  _run([FLAGS.torch_python, benchmark_fine_tuning_torch.__file__,
        json.dumps(dataclasses.asdict(settings))], split.folder / 'pytorch.log')
  return json.loads(pathlib.Path(settings.predictions).read_text(encoding='utf-8'))


_CONTENDERS: dict[str, Callable[[Split], list[int]]] = {
    'head': _head, 'defaults': _defaults, 'recipe': _recipe, 'pytorch': _pytorch}


def _run(command: Sequence[str], log: pathlib.Path) -> None:
  """Runs a program with an empty cache; its output goes to a file."""
  with log.open('w', encoding='utf-8') as file, tempfile.TemporaryDirectory() as cache:
    ended = subprocess.run(
        command, stdout=file, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '-1', 'XDG_CACHE_HOME': cache})
  if ended.returncode:
    raise ChildProcessError(f'{pathlib.Path(command[1]).name}: expected it to succeed. Received: '
                            f'exit code {ended.returncode}. Its output is in {log}.')


def describe(right: Mapping[str, Sequence[np.ndarray]], seconds: Mapping[str, Sequence[float]]
             ) -> str:
  """Returns the table of the contenders.

  Args:
    right: for each contender and split, whether each photo was right, bool [n].
    seconds: for each contender and split.
  """
  rows = []
  for name, of_splits in right.items():
    top_1 = [of_split.mean() for of_split in of_splits]
    difference = ''
    if name != 'recipe' and 'recipe' in right:
      paired = (np.concatenate(right['recipe']).astype(float) - np.concatenate(of_splits))
      margin = 1.96 * paired.std(ddof=1) / np.sqrt(len(paired))
      difference = f'{paired.mean():+.4f} ± {margin:.4f}'
    rows.append([name, *(f'{value:.4f}' for value in top_1), f'{np.mean(top_1):.4f}', difference,
                 f'{statistics.mean(seconds[name]) / 60:.1f}'])
  done = FLAGS.splits[:max(map(len, right.values()))]
  headers = ['', *(f'split {number}' for number in done), 'mean', 'recipe minus this',
             'minutes each']
  return tabulate.tabulate(rows, headers, 'github', disable_numparse=True)


def main() -> None:
  """Runs the contenders in turn, split by split."""
  if not FLAGS.dataset_dir or not FLAGS.checkpoint_path:
    raise ValueError('Expected --dataset_dir and --checkpoint_path. Received: '
                     f'{FLAGS.dataset_dir or ""} and {FLAGS.checkpoint_path or ""}.')
  contenders = list(dict.fromkeys(FLAGS.contenders))
  there = benchmark_fine_tuning_torch.TRUNKS
  if 'pytorch' in contenders and (not FLAGS.torch_python or FLAGS.model_name not in there):
    print('PyTorch is left out: it needs --torch_python, and --model_name must be one of '
          f'{", ".join(there)}.')
    contenders.remove('pytorch')
  is_torch_file = pathlib.Path(FLAGS.checkpoint_path).suffix in _TORCH_SUFFIXES
  if 'pytorch' in contenders and is_torch_file != (FLAGS.model_name == 'efficientnet_lite0'):
    raise ValueError(f'--checkpoint_path={FLAGS.checkpoint_path}: for --contenders=pytorch, '
                     'expected a .pth file of efficientnet_lite0, or a checkpoint of mobilenet_v1. '
                     f'Received: --model_name={FLAGS.model_name}.')
  right: dict[str, list[np.ndarray]] = {name: [] for name in contenders}
  seconds: dict[str, list[float]] = {name: [] for name in contenders}
  with tempfile.TemporaryDirectory() as scratch:
    for number in FLAGS.splits:
      split = split_photos(number, pathlib.Path(scratch))
      split.write()
      labels = np.array([label for _, label in split.validation])
      for name in contenders:
        start = time.perf_counter()
        found = np.array(_CONTENDERS[name](split))
        seconds[name].append(time.perf_counter() - start)
        right[name].append(found == labels)
        recall = np.mean([(found == labels)[labels == label].mean() for label in np.unique(labels)])
        print(f'split {number}, {name}: top-1 {right[name][-1].mean():.4f} of {len(labels)}, '
              f'{seconds[name][-1]:.0f} s', flush=True)
        if FLAGS.results:
          benchmark_results.append(pathlib.Path(FLAGS.results), [{
              'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
              'commit': benchmark_results.commit(), 'processor': benchmark_results.processor(),
              'cores': len(os.sched_getaffinity(0)), 'model_name': FLAGS.model_name,
              'contender': name, 'split': number, 'training_images': len(split.train),
              'validation_images': len(labels), 'top_1': f'{right[name][-1].mean():.4f}',
              'mean_recall': f'{recall:.4f}', 'seconds': f'{seconds[name][-1]:.0f}',
              'flags': ' '.join(FLAGS.recipe_flags) if name == 'recipe' else ''}])
      print(describe(right, seconds), flush=True)


if __name__ == '__main__':
  define_flags()
  benchmark_results.run(main)
