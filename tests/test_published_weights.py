"""TF-Slim's MobileNetV1 weights on real photos, against Keras' network on the same pixels."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from preprocessing import preprocessing_factory


def _keras_mobilenet(prefix: str) -> keras.Model:
  """Keras' MobileNet with the values of a TF-Slim checkpoint; its logits, 1,001 classes."""
  reader = tf.train.load_checkpoint(prefix)
  model = keras.applications.MobileNet(weights=None, classes=1001, classifier_activation=None)

  def values(layer: str, *names: str) -> list[np.ndarray]:
    return [reader.get_tensor(f'MobilenetV1/{layer}/{name}') for name in names]

  def batch_norm(layer: str) -> list[np.ndarray]:
    return values(layer, *(f'BatchNorm/{name}'
                           for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')))

  model.get_layer('conv1').set_weights(values('Conv2d_0', 'weights'))
  model.get_layer('conv1_bn').set_weights(batch_norm('Conv2d_0'))
  for i in range(1, 14):
    depthwise, pointwise = f'Conv2d_{i}_depthwise', f'Conv2d_{i}_pointwise'
    model.get_layer(f'conv_dw_{i}').set_weights(values(depthwise, 'depthwise_weights'))
    model.get_layer(f'conv_dw_{i}_bn').set_weights(batch_norm(depthwise))
    model.get_layer(f'conv_pw_{i}').set_weights(values(pointwise, 'weights'))
    model.get_layer(f'conv_pw_{i}_bn').set_weights(batch_norm(pointwise))
  model.get_layer('conv_preds').set_weights(values('Logits/Conv2d_1c_1x1', 'weights', 'biases'))
  return model


@pytest.mark.slow
def test_mobilenet_on_imagenet_photos(run_script, zoo_assets, tmp_path):
  """Prints both accuracies with `-s`; ours must be within half a point of Keras'."""
  weights = zoo_assets / 'weights' / 'mobilenet_v1_1.0_224'
  photos = sorted((zoo_assets / 'imagenet_sample').glob('*.[jJ]*'))
  labels = np.array([int(photo.name.split('_')[0]) for photo in photos])
  (tmp_path / 'list.csv').write_text(''.join(
      f'{photo},{label}\n' for photo, label in zip(photos, labels, strict=True)))
  code, _, errors = run_script(
      'eval_image_classifier', f'--checkpoint_path={weights}', '--model_name=mobilenet_v1',
      '--dataset_name=csv', f'--dataset_dir={tmp_path}/list.csv', '--dataset_split_name=all',
      '--labels_offset=-1', f'--eval_dir={tmp_path}')
  assert code == 0, errors
  found = json.loads((tmp_path / 'eval.json').read_text())

  preprocess = preprocessing_factory.get_preprocessing('inception')
  pixels = tf.data.Dataset.from_tensor_slices([str(photo) for photo in photos]).map(
      lambda path: preprocess(tf.io.read_file(path), 224, 224), num_parallel_calls=2).batch(50)
  model = _keras_mobilenet(tf.train.latest_checkpoint(weights) or str(
      next(weights.glob('*.index')))[:-len('.index')])
  logits = np.concatenate([model(batch, training=False).numpy() for batch in pixels])
  order = np.argsort(-logits, axis=1)[:, :5] - 1  # Output 0 is the background.
  top_1, top_5 = (order[:, 0] == labels).mean(), (order == labels[:, None]).any(axis=1).mean()
  print(f'\n{len(photos)} photos: ours {found["top_1"]:.3f}/{found["top_5"]:.3f}, '
        f'Keras {top_1:.3f}/{top_5:.3f}')
  assert found['count'] == len(photos) == 1000
  assert abs(found['top_1'] - top_1) <= 0.005
  assert abs(found['top_5'] - top_5) <= 0.005
