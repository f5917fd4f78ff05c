from __future__ import annotations

import pytest

from slim_zoo.training.length import Length


@pytest.mark.parametrize(('examples', 'batch', 'replicas', 'epochs', 'steps'), [
    (100, 10, 1, 1, 10), (101, 10, 1, 1, 11), (100, 10, 2, 1, 5), (100, 10, 1, 0.25, 3),
    (29, 7, 1, 7, 29),  # 7 * (29 / 7) is a little above 29.
    (3318, 32, 1, 5, 519),
])
def test_epochs_become_steps(examples, batch, replicas, epochs, steps):
  length = Length(examples, batch, replicas)
  assert length.last_step(epochs) == steps
  assert length.batch_size == batch * replicas
  assert length.steps_per_epoch == examples / batch / replicas


@pytest.mark.parametrize(('epochs', 'steps'), [(1, 4), (0.5, 2), (0.01, 1), (2, 8)])
def test_intervals_are_at_least_one_step(epochs, steps):
  assert Length(25, 6, 1).interval(epochs) == steps


def test_schedule_epochs_use_the_batch_size_of_one_replica():
  # TF-Slim: int(num_samples_per_epoch * num_epochs_per_decay / batch_size), whatever num_clones.
  assert Length(1281167, 32, 8).schedule_steps(2.0) == 80072
