"""A run: training that saves and validates as it goes, from wherever it stands to its end."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable

from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.training import checkpoints, loop, progress, recorder
from slim_zoo.training.inputs import Split
from slim_zoo.training.trainer import Trainer
from slim_zoo.weights import checkpoint_files

# Without activations to keep, an evaluation has room for several times the batch of training; more
# than the second is of no use.
_VALIDATION_BATCHES, _MOST_IN_A_BATCH = 4, 100


def train(trained: Trainer, evaluator: Evaluator, plan: loop.Plan, standing: loop.Standing, *,
          training: Split, validation: Split | None, batch_size: int, seed: int,
          num_replicas: int, folder: pathlib.Path, logs: pathlib.Path,
          describe: Callable[[int], dict], max_to_keep: int,
          keeps_lines: bool = False) -> signal.Signals | None:
  """Trains on, under the strategy in force.

  Args:
    trained: at the step that the run goes on from.
    evaluator: of its network.
    plan: when things happen.
    standing: of the run so far; changed as it goes on.
    training, validation: the splits; without validation there is no best.
    batch_size: examples a step, over all replicas.
    seed: of the order of the examples.
    num_replicas: how many replicas there are.
    folder: where checkpoints go; the best in its folder `best`.
    logs: where measurements go.
    describe: makes the metadata of a checkpoint at a step.
    max_to_keep: how many checkpoints to keep.
    keeps_lines: see `progress.Progress`.

  Returns:
    The signal that ended the run, or None.

  Raises:
    ValueError: if the loss is not finite any more, with what to do.
    tf.errors.OpError: if an example cannot be read.
  """
  def save(where: pathlib.Path = folder, most: int = max_to_keep) -> None:
    trained.synchronize()
    step = trained.step
    state = {name: variable.read_value() for name, variable in trained.state().items()}
    loop.check_state(state, step)
    checkpoints.save(where, step, state, describe(step), max_to_keep=most)

  of_replica = min(_MOST_IN_A_BATCH, _VALIDATION_BATCHES * (batch_size // num_replicas))
  held_out = validation and validation.evaluation_batches(batch_size=of_replica * num_replicas)

  def validate(gives_up):
    with trained.averaged():
      return evaluator.measure(held_out, gives_up)

  batches = training.training_batches(batch_size=batch_size, seed=seed, start_step=trained.step)
  records = recorder.Recorder(logs, step=trained.step)
  shown = progress.Progress(first_step=trained.step, last_step=plan.last_step,
                            batch_size=batch_size, keeps_lines=keeps_lines)
  try:
    return loop.fit(trained, iter(batches), plan, standing, recorder=records, progress=shown,
                    save=save, save_best=lambda: save(folder / 'best', 1),
                    validate=validate if validation else None)
  except loop.NonFiniteLossError as error:
    last = checkpoint_files.latest(folder, missing_ok=True) or 'none, as nothing was saved yet'
    raise ValueError(f'{error} Last good checkpoint: {last}. Lower --learning_rate, raise '
                     '--warmup_epochs or --opt_epsilon, then run again.') from error
  finally:
    shown.close()
    records.close()


def why_finished(step: int, standing: loop.Standing, last_step: int | None) -> str:
  """Says why a run is finished; '' if it is not."""
  if standing.validation_due:
    return ''
  if standing.stopped_early:
    return (f'it stopped early, with its best at step {standing.best_step}. Use another '
            '--train_dir to train again.')
  if last_step is not None and step >= last_step:
    return (f'it is at step {step} of {last_step}. Raise --max_number_of_steps or --epochs to '
            'train on.')
  return ''
