"""The arithmetic of a dry run's estimate; the scripts' tests measure a real one."""

from __future__ import annotations

import re
import types

import pytest

from slim_zoo.training import estimate


@pytest.mark.parametrize(('seconds', 'epoch', 'left', 'text'), [
  (0.5, 100, 1000, r'50\.0 s.* 1000 steps .*8\.3 min'),
  (2.0, 10000, 20000, r'5\.6 h.* 20000 steps .*11\.1 h'),
  (2.0, 90, None, r'3\.0 min'),
])
def test_text(seconds, epoch, left, text):
  found = estimate.Estimate(7.0, seconds, 5, 3 * 2 ** 30, {'GPU:0': 2 ** 29})
  lines = found.text(32, epoch, left)
  assert re.search(text, lines)
  assert f'{32 / seconds:.3g} images/s' in lines
  assert re.search(r'3\.00 GiB .*0\.50 GiB .*GPU:0', lines)


def test_first_step_is_not_counted(monkeypatch):
  times = iter([50.0, 3.0, 1.0, 2.0, 9.0, 2.5])
  monkeypatch.setattr(estimate, 'Stopwatch', lambda: types.SimpleNamespace(seconds=next(times)))
  ran = []
  trainer = types.SimpleNamespace(run=lambda batches, count: ran.append(count))
  found = estimate.measure(trainer, iter(()))
  assert (found.first_seconds, found.step_seconds, found.num_steps) == (50.0, 2.5, 5)
  assert ran == [1] * 6
  assert found.peak_bytes > 2 ** 20


def test_few_steps_are_measured_if_slow(monkeypatch):
  monkeypatch.setattr(estimate, 'Stopwatch', lambda: types.SimpleNamespace(seconds=15.0))
  trainer = types.SimpleNamespace(run=lambda batches, count: None)
  assert estimate.measure(trainer, iter(())).num_steps == 2
