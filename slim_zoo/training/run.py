"""A run: training with validation and checkpoints, from the trainer's step to the end."""

from __future__ import annotations

import pathlib
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.training import checkpoints, loop, progress, recorder
from slim_zoo.training.inputs import Split
from slim_zoo.training.pictures import Pictures
from slim_zoo.training.trainer import Trainer
from slim_zoo.training.workers import ALONE, Workers
from slim_zoo.weights import checkpoint_files

# An evaluation keeps no activations, so its batch may be several times that of training; above the
# second number it gets no faster.
_VALIDATION_BATCHES, _MOST_IN_A_BATCH = 4, 100


def train(trainer: Trainer, evaluator: Evaluator, plan: loop.Plan, *,
          validation_state: loop.ValidationState, training: Split, validation: Split | None,
          batch_size: int, seed: int, num_replicas: int, folder: pathlib.Path, logs: pathlib.Path,
          describe: Callable[[int], dict], max_to_keep: int, keeps_lines: bool = False,
          pictures: Pictures | None = None, hyperparameters: Mapping[str, Any] | None = None,
          workers: Workers = ALONE) -> signal.Signals | None:
  """Trains under the current strategy.

  Args:
    trainer: the trainer, at the step from which the run continues.
    evaluator: evaluator of its network.
    plan: schedule of the run.
    validation_state: state of the run so far; updated in place.
    training, validation: the splits; without validation there is no best checkpoint.
    batch_size: examples per step, over all replicas.
    seed: seed of the order of the examples.
    num_replicas: number of replicas.
    folder: folder of the checkpoints; the best one is in its subfolder `best`.
    logs: folder of the measurements.
    describe: returns the metadata of a checkpoint at a step.
    max_to_keep: how many checkpoints to keep.
    keeps_lines: see `progress.Progress`.
    pictures, hyperparameters: for TensorBoard.
    workers: of the run; the chief writes.

  Returns:
    The signal that ended the run, or None.

  Raises:
    ValueError: if the loss is no longer finite; says what to do.
    tf.errors.OpError: if an example cannot be read.
  """
  def save(where: pathlib.Path = folder, most: int = max_to_keep) -> None:
    trainer.synchronize()
    step = trainer.step
    state = {name: variable.read_value() for name, variable in trainer.state().items()}
    loop.check_state(state, step)
    workers.on_chief(lambda: checkpoints.save(where, step, state, metadata=describe(step),
                                              max_to_keep=most))

  of_batch = batch_size // trainer.batches_per_step
  of_replica = min(_MOST_IN_A_BATCH, _VALIDATION_BATCHES * (of_batch // num_replicas))
  held_out = () if validation is None else validation.evaluation_batches(
      batch_size=of_replica * num_replicas)

  def validate(gives_up):
    with trainer.averaged():
      return evaluator.examine(held_out, gives_up)

  # Takes a moment: a signal that comes before the bar is shown ends the program at once.
  batches = iter(training.training_batches(
      batch_size=of_batch, seed=seed, start_step=trainer.step * trainer.batches_per_step))
  if workers.count > 1:
    _keep(batches)
  records = recorder.NoRecorder() if not workers.is_chief else recorder.Recorder(
      logs, step=trainer.step, pictures=pictures, picture_seconds=plan.histogram_seconds)
  shown = progress.Progress(first_step=trainer.step, last_step=plan.last_step,
                            batch_size=batch_size, keeps_lines=keeps_lines)
  try:
    if hyperparameters:
      records.hyperparameters(hyperparameters)
    ended = loop.fit(trainer, batches, plan, validation_state=validation_state,
                     recorder=records, progress=shown, save=save,
                     save_best=lambda: save(folder / 'best', 1),
                     validate=validate if validation else None, workers=workers)
    records.draw_curves()
    return ended
  except loop.NonFiniteLossError as error:
    last = checkpoint_files.latest(folder, missing_ok=True) or 'none, as nothing was saved yet'
    raise ValueError(f'{error} Last good checkpoint: {last}. Lower --learning_rate, raise '
                     '--warmup_epochs or --opt_epsilon, then run again.') from error
  finally:
    shown.close()
    records.close()


def _keep(batches: Any) -> None:
  """Keeps an iterator until the process has ended.

  A thread of each iterator sleeps for up to a minute. TensorFlow 2.21 wakes it up just before it
  tells it to end, so that on a busy machine it often sleeps on, and whoever deletes the iterator
  waits. Slurm kills a worker that takes more than 30 seconds to stop. Python does not end daemon
  threads, and so does not delete what they hold. Of a run in phases, all iterators are kept.
  """
  threading.Thread(target=lambda _: threading.Event().wait(), args=(batches,), daemon=True).start()


def why_finished(step: int, validation_state: loop.ValidationState, last_step: int | None) -> str:
  """Returns why a run is finished; '' if it is not."""
  if validation_state.validation_due:
    return ''
  if validation_state.stopped_early:
    return (f'it stopped early, with its best at step {validation_state.best_step}. Use another '
            '--train_dir to train again.')
  if last_step is not None and step >= last_step:
    return (f'it is at step {step} of {last_step}. Raise --max_number_of_steps or --epochs to '
            'train on.')
  return ''
