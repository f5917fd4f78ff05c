"""What workers tell each other; several real ones are in tests/test_several_workers.py."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.training import cluster, workers

_TWO = cluster.Cluster(('127.0.0.1:9', '127.0.0.1:10'), 0, 'TF_CONFIG')


def test_alone():
  alone = workers.ALONE
  assert (alone.count, alone.index, alone.is_chief) == (1, 0, True)
  assert alone.total([1, 2.5]).tolist() == alone.of_chief([1, 2.5]).tolist() == [1, 2.5]
  assert alone.gather('text', 'a test') == ['text']
  alone.check_same({'a': 1})
  done = []
  alone.on_chief(lambda: done.append(1))
  assert done == [1]
  with pytest.raises(ZeroDivisionError), alone.telling_failures():
    _ = 1 / 0
  assert alone.explain(tf.errors.UnavailableError(None, None, '')) is None


class _Told(workers.Workers):
  """The chief of two workers, the other of which says this."""

  def __init__(self, other):
    super().__init__(_TWO, tf.distribute.get_strategy())
    self._other = other

  def gather(self, text, what):
    return [text, self._other]


@pytest.mark.parametrize(('other', 'name'), [
  ('{"--learning_rate": 0.2, "data": [1]}', '--learning_rate is 0.2'),
  ('{"--learning_rate": 0.1, "data": [2]}', 'data'),
  ('{"--learning_rate": 0.1}', 'data'),
])
def test_worker_that_differs_is_named(other, name):
  facts = {'--learning_rate': 0.1, 'data': [1]}
  with pytest.raises(ValueError, match=name) as raised:
    _Told(other).check_same(facts)
  assert 'worker 1 (127.0.0.1:10)' in str(raised.value)
  _Told('{"data": [1], "--learning_rate": 0.1}').check_same(facts)


@pytest.mark.parametrize(('other', 'error', 'name'), [
  ({'text': 'a', 'what': 'images'}, None, None),
  ({'text': 'a', 'what': 'labels'}, ValueError, "'labels'.*'images'"),
  ({}, ValueError, "'the end'"),
  ({'failure': 'no disk'}, workers.OtherWorkerError, 'no disk'),
])
def test_worker_that_does_something_else_is_named(monkeypatch, other, error, name):
  monkeypatch.setattr(workers.Workers, '_exchange_bytes', lambda self, sent: [
    sent, zlib.compress(json.dumps(other).encode())])
  two = workers.Workers(_TWO, tf.distribute.get_strategy())
  if error is None:
    assert two.gather('b', 'images') == ['b', 'a']
    return
  with pytest.raises(error, match=name) as raised:
    two.gather('b', 'images')
  assert 'worker 1 (127.0.0.1:10)' in str(raised.value)


@pytest.mark.parametrize('size', [0, 3, 7, 8])
def test_long_messages_are_exchanged_in_parts(monkeypatch, size):
  monkeypatch.setattr(workers, '_CHUNK', 3)
  sizes = []

  class Two(workers.Workers):
    def total(self, values):
      return np.add(values, [0, 5])

    def _gather(self, values):
      sizes.append(values.shape[1])
      other = np.zeros([1, 8], np.int32)
      other[0, :5] = list(b'other')
      start = 3 * (len(sizes) - 1)
      return tf.concat([values, other[:, start:start + values.shape[1]]], 0)

  own = b'abcdefgh'[:size]
  two = Two(_TWO, tf.distribute.get_strategy())
  monkeypatch.setattr(Two, '_replicas', 1)
  assert two._exchange_bytes(own) == [own, b'other']
  assert max(sizes) <= 3 and sum(sizes) == max(size, 5)


@pytest.mark.parametrize('error', [tf.errors.UnavailableError, tf.errors.DeadlineExceededError,
                                   tf.errors.AbortedError])
def test_lost_worker_is_named(monkeypatch, error):
  monkeypatch.setattr(workers, '_SECONDS_TO_LOOK', 0.0)
  found = _Told('').explain(error(None, None, 'aborted'))
  assert 'worker 1 (127.0.0.1:10)' in str(found)
  assert found.exit_code == 75


def test_frozen_worker_is_named(monkeypatch):
  """It accepts connections, but TensorFlow knows that it does not answer."""
  monkeypatch.setattr(workers, '_SECONDS_TO_LOOK', 0.0)
  monkeypatch.setattr(cluster.Cluster, 'unreachable', lambda self: [])
  text = ('Collective ops is aborted by: The following tasks are unhealthy (stopped sending '
          'heartbeats):\n/job:worker/replica:0/task:1\nThe tasks have crashed.')
  assert 'worker 1 (' in str(_Told('').explain(tf.errors.UnavailableError(None, None, text)))


def test_frozen_chief_is_named(monkeypatch):
  """Of three workers, to one of the others, which only know that heartbeats are not answered."""
  monkeypatch.setattr(workers, '_SECONDS_TO_LOOK', 0.0)
  monkeypatch.setattr(cluster.Cluster, 'unreachable', lambda self: [])
  three = cluster.Cluster(('a:1', 'b:1', 'c:1'), 1, 'TF_CONFIG')
  text = ('Collective ops is aborted by: Deadline Exceeded\n\n'
          'RPC: /tensorflow.CoordinationService/Heartbeat\n'
          'The error could be from a previous operation.')
  found = workers.Workers(three, tf.distribute.get_strategy()).explain(
      tf.errors.DeadlineExceededError(None, None, text))
  assert 'Lost worker 0 (a:1):' in str(found)


def test_error_of_an_image_is_not_one_of_a_worker():
  assert _Told('').explain(tf.errors.InvalidArgumentError(None, None, 'bad JPEG')) is None
