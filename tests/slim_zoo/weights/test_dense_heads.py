"""Dense layers on top of a Keras model."""

from __future__ import annotations

import keras
import pytest

from nets import custom_head
from slim_zoo.weights import dense_heads, opening, restore


@pytest.mark.parametrize(('shapes', 'head'), [
  ({'dense/kernel': (8, 5), 'dense/bias': (5,)}, 'fc'),
  ({'dense_1/kernel': (6, 5), 'dense/kernel': (8, 6)}, 'fc:6,fc'),
  ({f'dense_{i}/kernel': (i, i + 1) for i in (11, 9, 10)}, 'fc:10,fc:11,fc'),
  ({'predictions/kernel': (8, 5)}, 'fc'),
  ({'dense/kernel': (8, 6), 'dense_1/kernel': (8, 6)}, None),  # Side by side.
  ({'conv/kernel': (1, 1, 8, 5), 'dense/bias': (5,)}, None),
  ({}, None)])
def test_head_of_dense_layers(shapes, head):
  assert dense_heads.find(shapes) == head
  assert (f'--head={head}' in dense_heads.advice(shapes)) == (head is not None)
  if head:
    custom_head.parse(head)


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')  # Keras' own.
@pytest.mark.parametrize('suffix', ['keras', 'h5', 'weights.h5'])
def test_network_inside_a_keras_model(tmp_path, suffix):
  base = keras.applications.MobileNet(include_top=False, weights=None, alpha=.25,
                                      input_shape=(32, 32, 3))
  model = keras.Sequential([
    keras.Input((32, 32, 3)), base, keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(7, activation='relu'), keras.layers.Dropout(.5), keras.layers.Dense(5)])
  path = str(tmp_path / f'model.{suffix}')
  (model.save_weights if suffix == 'weights.h5' else model.save)(path)
  weights, _ = opening.open_weights(path, model_name='mobilenet_v1_025')
  wanted = opening.shapes_of('mobilenet_v1_025')
  report = restore.plan(weights.source, wanted, weights.takes('mobilenet_v1_025', wanted))
  assert [name.split('/')[1] for name in report.names('missing')] == ['Logits', 'Logits']
  with pytest.raises(ValueError, match='--head=fc:7,fc'):
    restore.check(report)
