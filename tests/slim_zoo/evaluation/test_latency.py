"""The time of one image."""

from __future__ import annotations

import numpy as np

from slim_zoo.evaluation import latency


def test_median_time_ignores_the_first_calls(monkeypatch):
  times = iter(np.cumsum([0, 1, 0, 3, 0, 2, 0, 2, 0, 2]))
  monkeypatch.setattr(latency.time, 'perf_counter', lambda: float(next(times)))
  calls = []
  assert latency.median_seconds(lambda: calls.append(None)) == 2
  assert len(calls) == 3 + 5
