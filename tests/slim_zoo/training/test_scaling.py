"""The model of runs on many machines, against a ring that is played step by step."""

from __future__ import annotations

import numpy as np
import pytest

from slim_zoo.training import scaling

WORK = scaling.Work(trainable=25_000_000, others=100_000, slots=2, exchanges=1, batch_size=64,
                    images_per_second=320.0, image_bytes=100_000.0, num_images=3.2e6)


def ring(parts: np.ndarray) -> tuple[np.ndarray, int]:
  """All-reduces [replicas, numbers] in a ring; returns the sums and how many numbers each sent."""
  count = len(parts)
  chunks = [np.array_split(part.copy(), count) for part in parts]
  sent = np.zeros(count, int)
  for turn in range(2 * (count - 1)):
    for place in range(count):
      chunk, target = (place - turn) % count, (place + 1) % count
      if turn < count - 1:  # The sums are made, and then passed on.
        chunks[target][chunk] += chunks[place][chunk]
      else:
        chunk = (place + 1 - (turn - count + 1)) % count
        chunks[target][chunk] = chunks[place][chunk].copy()
      sent[place] += len(chunks[place][chunk])
  return np.array([np.concatenate(part) for part in chunks]), int(sent.max())


@pytest.mark.parametrize('replicas', [2, 4, 5])
def test_bytes_of_a_ring(replicas):
  parts = np.random.default_rng(0).normal(size=[replicas, 60])
  sums, sent = ring(parts)
  np.testing.assert_allclose(sums, np.tile(parts.sum(0), [replicas, 1]))
  work = scaling.Work(**{**vars(WORK), 'trainable': 60})
  assert scaling.plan(work, scaling.Cluster(), replicas).exchanged_bytes == 4 * sent


@pytest.mark.parametrize(('machines', 'cluster', 'expected'), [
  # One replica has nothing to exchange: 64 / 320 s.
  (1, {'link': 1e9}, {'step': 0.2, 'exchange': 0, 'efficiency': 1, 'limit': 'computing'}),
  # 2 · 7/8 of 100 MB at 1 GB/s.
  (8, {'link': 1e9}, {'step': 0.375, 'exchange': 0.175, 'images_per_second': 512 / 0.375}),
  (8, {'link': 1e8}, {'exchange': 1.75, 'limit': 'exchange'}),
  # The ring of two machines with four replicas each is as slow as the link between them.
  (2, {'link': 1e9, 'inner_link': 1e11, 'replicas': 4}, {'exchange': 0.175, 'replicas': 8}),
  (1, {'link': 1, 'inner_link': 1e10, 'replicas': 8}, {'exchange': 0.0175, 'batch_size': 512}),
  # Seven machines are passed twice.
  (8, {'latency': 0.01}, {'exchange': 0.14}),
  # 512 images of 100 kB at 64 MB/s, or 8 machines with 64 images/s each.
  (8, {'storage': 64e6}, {'step': 0.8, 'limit': 'reading', 'read_bytes': 64e6}),
  (8, {'reading': 64}, {'step': 1.0, 'limit': 'reading', 'efficiency': 0.2}),
  # Three numbers of 4 bytes for each trained parameter; the run pauses once in ten minutes.
  (1, {'storage': 3.004e8, 'price': 2}, {
    'checkpoint_bytes': 300_400_000, 'checkpoint': 1, 'total': 1e4 * (1 + 1 / 600),
    'cost': 1e4 * (1 + 1 / 600) / 3600 * 2}),
])
def test_plan(machines, cluster, expected):
  plan = scaling.plan(WORK, scaling.Cluster(**cluster), machines)
  for name, value in expected.items():
    assert getattr(plan, name) == (value if isinstance(value, str) else pytest.approx(value)), name


def test_clipping_exchanges_twice():
  twice = scaling.Work(**{**vars(WORK), 'exchanges': 2})
  cluster = scaling.Cluster(link=1e9, latency=1e-3)
  assert scaling.plan(twice, cluster, 4).exchange == pytest.approx(
    2 * scaling.plan(WORK, cluster, 4).exchange)


def test_exchange_without_latency_has_a_bound():
  times = [scaling.plan(WORK, scaling.Cluster(link=1e9), 2 ** n).exchange for n in range(1, 11)]
  assert times == sorted(times) and times[-1] < 0.2
