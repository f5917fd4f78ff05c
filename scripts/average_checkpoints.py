r"""Averages the variables of several checkpoints of one run (stochastic weight averaging).

    python scripts/average_checkpoints.py run/model.ckpt-800 run/model.ckpt-900 \
      run/model.ckpt-1000 --output_dir=averaged

A directory stands for all of its checkpoints. The result is for evaluation, prediction, export and
as --checkpoint_path of another run; it lacks what resuming needs. Batch norm's averages are
averaged, too; Izmailov et al. (2018, https://arxiv.org/abs/1803.05407) compute them again.
"""

from __future__ import annotations

import os
import pathlib
import re
import sys
from collections.abc import Sequence

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf
from absl import flags

from slim_zoo.config import command_line
from slim_zoo.config import option as options
from slim_zoo.training import checkpoints, metadata, optimizers
from slim_zoo.training.trainer import STEP_NAME
from slim_zoo.weights import checkpoint_files
from slim_zoo.weights.reader import AVERAGE_SUFFIX, Checkpoint

FLAGS = flags.FLAGS

# What belongs to a run, and not to the network.
_OF_RUNS = re.compile('|'.join([
    rf'.*/({"|".join(kind.slot_name for kind in optimizers.OPTIMIZERS.values() if kind.slots)})'
    r'(_\d+)?', r'beta[12]_power(_\d+)?', f'.*{AVERAGE_SUFFIX}', 'loss_scale.*', STEP_NAME]))
_KEPT_FACTS = ('model_name', 'class_names', 'image_size', 'channels', 'preprocessing_name',
               'transform', 'labels_offset', 'flags')


def define_flags() -> None:
  """Defines this script's flags."""
  options.define_path('output_dir', None, 'Directory for the average.', is_written=True)


def average(prefixes: Sequence[str]) -> dict[str, np.ndarray]:
  """Averages the variables of a network; their moving averages if all checkpoints have them.

  Args:
    prefixes: of the checkpoints.

  Returns:
    `{name: mean}`, of the variables' types.

  Raises:
    ValueError: if the checkpoints have different variables.
  """
  opened = [Checkpoint(prefix) for prefix in prefixes]
  has_averages = all(any(name.endswith(AVERAGE_SUFFIX) for name in one.shapes) for one in opened)
  if has_averages:
    print('The moving averages of the variables are averaged, which an evaluation would use.')
  shapes = [{name: shape for name, shape in one.shapes.items() if not _OF_RUNS.fullmatch(name)}
            for one in opened]
  for prefix, other in zip(prefixes, shapes, strict=True):
    if other != shapes[0]:
      name = sorted(set(other.items()) ^ set(shapes[0].items()))[0][0]
      raise ValueError(f'Expected checkpoints of one network. Received: {prefix} and '
                       f'{prefixes[0]}, which differ in {name}.')
  found = {}
  for name in shapes[0]:
    source = name + AVERAGE_SUFFIX if has_averages else name
    values = [one.read(source if source in one.shapes else name) for one in opened]
    found[name] = np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
  return found


def main(arguments: Sequence[str]) -> int:
  """Averages checkpoints."""
  prefixes = [prefix for path in arguments for prefix in (
      checkpoint_files.numbered(pathlib.Path(path)) if os.path.isdir(path)
      else [checkpoint_files.latest(path)])]
  if len(prefixes) < 2 or not FLAGS.output_dir:
    raise ValueError('Expected two or more checkpoints, and --output_dir. Received: '
                     f'{len(prefixes)} checkpoints, --output_dir={FLAGS.output_dir or ""}.')
  if checkpoint_files.latest(FLAGS.output_dir, missing_ok=True):
    raise ValueError('--output_dir: expected a directory without checkpoints. Received: '
                     f'{FLAGS.output_dir}.')
  values = average(prefixes)
  known = checkpoint_files.read_metadata(prefixes[-1])
  facts = {key: known[key] for key in _KEPT_FACTS if key in known}
  step = max(checkpoint_files.step_of(prefix) for prefix in prefixes)
  saved = checkpoints.save(
      FLAGS.output_dir, max(step, 0),
      {**{name: tf.constant(value) for name, value in values.items()},
       STEP_NAME: tf.constant(max(step, 0), tf.int64)},
      metadata={**facts, 'averaged_from': list(prefixes), 'versions': metadata.versions()},
      max_to_keep=1)
  print(f'Wrote {saved}: the average of {len(prefixes)} checkpoints, {len(values)} variables.')
  return 0


if __name__ == '__main__':
  define_flags()
  command_line.run(main, takes_arguments=True)
