"""The arguments that a run passes to its parts."""

from __future__ import annotations

import types

import pytest

from slim_zoo.training import run


class _AskedError(Exception):
  """Ends a run when it requests its validation batches."""


@pytest.mark.parametrize(('batch', 'replicas', 'expected'), [
  (4, 1, 16),  # A small training batch limits the validation batch.
  (1, 1, 4), (8, 2, 32), (24, 1, 96), (32, 1, 100), (64, 2, 200), (1000, 1, 100)])
def test_validation_batch_size_is_limited_by_training(batch, replicas, expected):
  def evaluation_batches(*, batch_size):
    raise _AskedError(batch_size)

  with pytest.raises(_AskedError) as asked:
    run.train(None, None, None, validation_state=None, training=None, batch_size=batch,
              num_replicas=replicas,
              validation=types.SimpleNamespace(evaluation_batches=evaluation_batches), seed=0,
              folder=None, logs=None, describe=None, max_to_keep=1)
  assert asked.value.args == (expected,)
