"""The arguments that a run passes to its parts."""

from __future__ import annotations

import types

import pytest

from slim_zoo.training import run


class _AskedError(Exception):
  """Ends a run when it requests its validation batches."""


@pytest.mark.parametrize(('batch', 'replicas', 'batches', 'expected'), [
  (4, 1, 1, 16),  # A small training batch limits the validation batch.
  (1, 1, 1, 4), (8, 2, 1, 32), (24, 1, 1, 96), (32, 1, 1, 100), (64, 2, 1, 200), (1000, 1, 1, 100),
  (4, 1, 8, 16)])
def test_validation_batch_size_is_limited_by_training(batch, replicas, batches, expected):
  def evaluation_batches(*, batch_size):
    raise _AskedError(batch_size)

  trainer = types.SimpleNamespace(batches_per_step=batches)
  with pytest.raises(_AskedError) as asked:
    run.train(trainer, None, None, validation_state=None, training=None, batch_size=batch * batches,
              num_replicas=replicas,
              validation=types.SimpleNamespace(evaluation_batches=evaluation_batches), seed=0,
              folder=None, logs=None, describe=None, max_to_keep=1)
  assert asked.value.args == (expected,)
