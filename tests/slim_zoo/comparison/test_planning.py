"""Which networks fit the time, from measured times rather than a clock."""

from __future__ import annotations

import pytest

from slim_zoo.comparison.planning import Work, choose


def _works(*milliseconds, count=100, setup=0.0, head=0.0):
  return [Work(count, ms / 1000, setup, head) for ms in milliseconds]


@pytest.mark.parametrize(('works', 'seconds', 'chosen'), [
  (_works(10, 20, 30), 6, [True, True, True]),  # 1 + 2 + 3 seconds.
  (_works(10, 20, 30), 5.9, [True, True, False]),
  (_works(10, 60, 30), 4, [True, False, True]),  # A slow one does not block those after it.
  (_works(10, 20), 0.9, [False, False]),
  (_works(10, 20, setup=1), 4.9, [True, False]),
  (_works(10, 20, head=1), 4.9, [True, False]),
  (_works(10, 20, count=0, setup=5), 0, [True, True]),  # Features that exist take no time.
  (_works(10, count=0, head=2), 1, [False]),
  (_works(10, count=0), -3, [True]),
  ([], 1, []),
])
def test_networks_that_fit_are_chosen(works, seconds, chosen):
  assert choose(works, seconds) == chosen
