"""What a run will take, measured on a few of its steps."""

from __future__ import annotations

import dataclasses
import resource
import statistics
from collections.abc import Iterator

import tensorflow as tf

from slim_zoo.training.progress import Stopwatch
from slim_zoo.training.trainer import Trainer

_MOST_STEPS = 5
_MOST_SECONDS = 20  # Enough for large networks, of which one step takes seconds.


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What a few steps took.

  Attributes:
    first_seconds: of the first step, with what is traced and compiled once.
    step_seconds: of a later step, the median.
    num_steps: how many later steps were measured.
    peak_bytes: the most memory that the process has held.
    gpu_bytes: the most of each GPU's memory that tensors took, by its name.
  """
  first_seconds: float
  step_seconds: float
  num_steps: int
  peak_bytes: int
  gpu_bytes: dict[str, int]

  def text(self, batch_size: int, steps_per_epoch: float, steps_left: int | None) -> str:
    """Says it in lines to read.

    Args:
      batch_size: examples a step, on all replicas.
      steps_per_epoch: steps of one epoch.
      steps_left: of the run; None without an end.
    """
    epoch = self.step_seconds * steps_per_epoch
    memory = f'{self.peak_bytes / 2 ** 30:.2f} GiB of memory'
    memory += ''.join(f', {size / 2 ** 30:.2f} GiB of {name}'
                      for name, size in self.gpu_bytes.items())
    speed = batch_size / self.step_seconds
    lines = [f'{self.step_seconds:.3g} s a step (the median of {self.num_steps}; the first took '
             f'{self.first_seconds:.3g} s), {speed:.3g} images/s, at most {memory}.',
             f'An epoch takes about {_duration(epoch)}'
             + ('.' if steps_left is None else
                f', the {steps_left} steps to go {_duration(self.step_seconds * steps_left)}.')
             + ' Validation and saving are not counted.']
    return '\n'.join(lines)


def measure(trainer: Trainer, batches: Iterator) -> Estimate:
  """Makes a few steps, which change the trainer's variables.

  Args:
    trainer: ready to train.
    batches: iterator over training batches.
  """
  def step() -> float:
    watch = Stopwatch()
    trainer.run(batches, 1)
    return watch.seconds

  first = step()
  seconds: list[float] = []
  while len(seconds) < _MOST_STEPS and (not seconds or sum(seconds) < _MOST_SECONDS):
    seconds.append(step())
  gpus = [device.name.rpartition('/device:')[2] for device in tf.config.list_logical_devices('GPU')]
  return Estimate(first, statistics.median(seconds), len(seconds),
                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                  {gpu: tf.config.experimental.get_memory_info(gpu)['peak'] for gpu in gpus})


def _duration(seconds: float) -> str:
  for size, unit in ((3600, 'h'), (60, 'min')):
    if seconds >= 2 * size:
      return f'{seconds / size:.1f} {unit}'
  return f'{seconds:.1f} s'
