"""The arguments that a run passes to its parts."""

from __future__ import annotations

import gc
import types
import weakref

import pytest

from slim_zoo.training import loop, run


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


class _Batches:
  """Endless, and their own iterator."""

  def __iter__(self):
    return self

  def __next__(self):
    return {}


@pytest.mark.parametrize(('count', 'is_kept'), [(1, False), (2, True)])
def test_iterator_of_several_workers_is_not_deleted(monkeypatch, count, is_kept):
  """Deleting it may take a minute, which a worker that was told to stop does not have."""
  monkeypatch.setattr(loop, 'fit', lambda *_, **__: None)
  made = []

  def training_batches(**_):
    batches = _Batches()
    made.append(weakref.ref(batches))
    return batches

  run.train(types.SimpleNamespace(batches_per_step=1, step=0), None,
            loop.Plan(None, 1, None, None, 1, 1, 1), validation_state=None,
            training=types.SimpleNamespace(training_batches=training_batches), validation=None,
            batch_size=2, num_replicas=count, seed=0, folder=None, logs=None, describe=None,
            max_to_keep=1, workers=types.SimpleNamespace(count=count, is_chief=False))
  gc.collect()
  assert (made[0]() is not None) == is_kept
