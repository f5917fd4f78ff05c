"""Time and memory that a run will take, measured on a few steps."""

from __future__ import annotations

import dataclasses
import resource
import statistics
from collections.abc import Iterator

import tensorflow as tf

from slim_zoo.training.progress import Stopwatch
from slim_zoo.training.trainer import Trainer
from slim_zoo.training.workers import ALONE, Workers

_MOST_STEPS = 5
_MOST_SECONDS = 20  # Enough for large networks, whose steps take seconds.


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Time and memory of a few steps.

  Attributes:
    first_seconds: time of the first step, including tracing and compilation.
    step_seconds: median time of a later step.
    num_steps: number of later steps that were measured.
    peak_bytes: peak memory of the process.
    gpu_bytes: peak memory of the tensors on each GPU, by its name.
  """
  first_seconds: float
  step_seconds: float
  num_steps: int
  peak_bytes: int
  gpu_bytes: dict[str, int]

  def text(self, batch_size: int, steps_per_epoch: float, steps_left: int | None) -> str:
    """Formats the estimate for the user.

    Args:
      batch_size: examples per step, over all replicas.
      steps_per_epoch: steps per epoch.
      steps_left: remaining steps of the run; None if it has no end.
    """
    epoch = self.step_seconds * steps_per_epoch
    memory = f'{self.peak_bytes / 2 ** 30:.2f} GiB of memory'
    memory += ''.join(f', {size / 2 ** 30:.2f} GiB of {name}'
                      for name, size in self.gpu_bytes.items())
    speed = batch_size / self.step_seconds
    lines = [f'{self.step_seconds:.3g} s per step (the median of {self.num_steps}; the first took '
             f'{self.first_seconds:.3g} s), {speed:.3g} images/s, at most {memory}.',
             f'An epoch takes about {_duration(epoch)}'
             + ('.' if steps_left is None else
                f', the remaining {steps_left} steps {_duration(self.step_seconds * steps_left)}.')
             + ' Validation and saving are not counted.']
    return '\n'.join(lines)


def measure(trainer: Trainer, batches: Iterator, workers: Workers = ALONE) -> Estimate:
  """Runs a few steps, which changes the trainer's variables.

  Args:
    trainer: ready to train.
    batches: iterator over training batches.
    workers: of the run; the times are the chief's.
  """
  def step() -> float:
    watch = Stopwatch()
    trainer.run(batches, 1)
    return float(workers.of_chief([watch.seconds])[0])

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
