"""Verdicts on networks, from which images they get right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from slim_zoo.comparison import scoring


def _score(num_right, *, start=0, count=100):
  is_right = np.zeros(count, bool)
  is_right[start:start + num_right] = True
  return scoring.Score(is_right, (0.1,))


# The example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), 'holm'), and ties.
@pytest.mark.parametrize(('p_values', 'corrected'), [
  ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
  ([0.05, 0.01], [0.05, 0.02]), ([0.9, 0.8], [1, 1]), ([0.03], [0.03]), ([], [])])
def test_holm(p_values, corrected):
  assert scoring.holm(p_values) == pytest.approx(corrected)


def test_networks_are_compared_with_the_best_image_by_image():
  scores = {'good': _score(90), 'shifted': _score(89, start=5), 'bad': _score(60),
            'same': _score(90)}
  found = scoring.judge(scores)
  assert [name for name, verdict in found.items() if verdict.is_best] == ['good']
  assert [name for name, verdict in found.items() if verdict.is_distinguishable] == ['bad']
  # 30 images that only the best gets right, none that only the other does; three tests.
  assert found['bad'].p_value == pytest.approx(3 * stats.binomtest(30, 30).pvalue)
  assert found['same'].p_value == 1
  assert found['good'].text() == 'best'
  assert found['bad'].text() == 'less accurate (p < 0.001)'
  assert found['same'].text() == 'not distinguishable from the best (p = 1.000)'


def test_accuracy_has_wilsons_interval():
  share, low, high = _score(90).accuracy
  expected = stats.binomtest(90, 100).proportion_ci(method='wilson')
  assert (share, low, high) == pytest.approx((0.9, expected.low, expected.high))


def test_one_network_and_none():
  assert scoring.judge({'only': _score(3)}) == {'only': scoring.Verdict(True, 1.0)}
  assert scoring.judge({}) == {}
