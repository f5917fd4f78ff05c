from __future__ import annotations

import json

import pytest

from slim_zoo.weights import keras_config


def _layer(shape=None, key='batch_shape'):
  return {'class_name': 'InputLayer', 'config': {'name': 'x'} | ({key: shape} if shape else {})}


def _model(*layers):
  return {'class_name': 'Functional', 'config': {'name': 'm', 'layers': list(layers)}}


@pytest.mark.parametrize(('config', 'size'), [
  (_model(_layer([None, 128, 128, 3])), 128),
  (_model(_layer([None, 96, 96, 3], 'batch_input_shape'), _layer()), 96),
  (_model(_layer(), _model(_layer([None, 64, 64, 1]))), 64),
  ({'class_name': 'Sequential', 'config': [_layer([None, 32, 32, 3])]}, 32),
  (_model(_layer([None, None, None, 3])), None), (_model(_layer([None, 96, 128, 3])), None),
  (_model(_layer([None, 0, 0, 3])), None), (_model(_layer([None, 10])), None),
  (_model(_layer([None, True, True, 3])), None), (_model(_layer([None, 10**9, 10**9, 3])), None),
  (_model(_layer('abcd')), None), (_model(), None), (None, None), ([], None), ({}, None)])
def test_image_size(config, size):
  assert keras_config.image_size(config) == size
  assert keras_config.image_size(json.dumps(config)) == size


@pytest.mark.parametrize('text', ['', '{', b'\xff', '[' * 100_000])
def test_text_that_is_no_configuration(text):
  assert keras_config.image_size(text) is None


def test_deep_nesting():
  config = _layer([None, 32, 32, 3])
  for _ in range(100):
    config = _model(config)
  assert keras_config.image_size(config) is None
