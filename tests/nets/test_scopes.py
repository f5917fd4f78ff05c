"""Scopes: which names match a flag's list of scopes."""

from __future__ import annotations

import pytest

from nets import scopes


@pytest.mark.parametrize(('text', 'expected'), [
  (None, ()), ('', ()), ('a', ('a',)), (' a/b/ , c,', ('a/b', 'c'))])
def test_split(text, expected):
  assert scopes.split(text) == expected


@pytest.mark.parametrize(('name', 'scope', 'expected'), [
  ('cell_1/weights', 'cell_1', True),
  ('cell_10/weights', 'cell_1', False),
  ('cell_10/weights', 'cell_?', False),
  ('cell_10/weights', 'cell_*', True),
  ('aux_7/conv/weights', 'aux_*', True),
  ('net/aux_7/weights', 'aux_*', False),
  ('net/aux_7/weights', '*/aux_7', True),
  ('net/deep/aux_7/weights', '*/aux_7', False),  # A wildcard stays within one component.
  ('net/fc8/weights', 'net/fc8/weights', True),
  ('net/fc8/weights', 'net/fc8/weights/Momentum', False),
  ('net/fc8', 'NET', False),
])
def test_matches(name, scope, expected):
  assert scopes.matches(name, scope) is expected
  assert scopes.matches_any(name, ['nothing', scope]) is expected


def test_select_keeps_the_order():
  names = ['a/w', 'b/w', 'c/w']
  assert scopes.select(names, ['c', 'a'], 'trainable_scopes') == ['a/w', 'c/w']


def test_unmatched_scope_error_suggests_the_closest():
  names = ['MobilenetV1/Logits/Conv2d_1c_1x1/weights', 'MobilenetV1/Conv2d_0/weights']
  with pytest.raises(ValueError,
                     match='--trainable_scopes.*MobileNetV1/logits.* MobilenetV1/Logits'):
    scopes.select(names, ['MobilenetV1/Conv2d_0', 'MobileNetV1/logits'], 'trainable_scopes')
  with pytest.raises(ValueError, match='--trainable_scopes.*xyz.* MobilenetV1'):
    scopes.select(names, ['xyz'], 'trainable_scopes')
