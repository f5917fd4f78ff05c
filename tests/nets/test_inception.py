"""The Inception networks against Keras' own, and their auxiliary heads."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import inception_blocks, inception_v2, inception_v3, layers, nets_factory, outline
from scripts.oracles import keras_models

v1 = tf.compat.v1
KERAS = {'inception_v3': keras.applications.InceptionV3,
         'inception_resnet_v2': keras.applications.InceptionResNetV2}


# Both are compared with TF-Slim's own, at two sizes, in test_slim_oracle.py.
@pytest.mark.thorough
@pytest.mark.parametrize(('name', 'size'), [
  ('inception_v3', 107), ('inception_v3', 130),
  ('inception_resnet_v2', 107), ('inception_resnet_v2', 130)])
def test_logits_equal_keras(name, size, rng, randomize):
  model = KERAS[name](input_shape=(size, size, 3), weights=None, classes=12,
                      classifier_activation=None)
  network = nets_factory.build_network(name, image_shape=(299, 299, 3), num_classes=12)
  keras_models.assign(name, model, randomize(network))
  images = rng.uniform(-1, 1, [3, size, size, 3]).astype(np.float32)
  expected = model(images, training=False).numpy()
  logits, _ = network(images, is_training=False)
  assert np.abs(expected[0] - expected[1]).max() > 0.01 * expected.std()
  print(f'{name} at {size}: {np.abs(logits - expected).max() / expected.std():.1e}')
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std())


@pytest.mark.parametrize('name', ['inception_v3', 'inception_v4', 'inception_resnet_v2'])
def test_auxiliary_head_exists_only_in_training(name, trace_training):
  """At the networks' smallest image size."""
  training = trace_training(name, size=75)
  inference = outline.trace(name, 10, image_shape=[75, 75, 3])
  assert training.end_points['AuxLogits'].shape == [2, 10]
  assert 'AuxLogits' not in inference.end_points
  names = [key for key in {**training.trainable, **training.others} if '/AuxLogits/' in key]
  assert len(names) == 10  # Two convolutions with batch norm, and the classifier.
  assert [key for key in {**inference.trainable, **inference.others} if '/AuxLogits/' in key] == []


# Inception V3's kernel for images of 75, 203, 299 and 427 pixels.
@pytest.mark.parametrize(('size', 'kernel'), [(3, 1), (11, 3), (17, 5), (25, 5)])
def test_auxiliary_kernel_is_cropped_to_small_maps(size, kernel):
  with tf.Graph().as_default():
    with layers.arg_scope(inception_blocks.inception_arg_scope()):
      features = inception_blocks.auxiliary_features(tf.zeros([2, size, size, 8]), 'last_{}x{}')
    shapes = {v.op.name: v.shape.as_list() for v in v1.trainable_variables()}
  assert features.shape == [2, 1, 1, 768]
  assert shapes[f'last_{kernel}x{kernel}/weights'] == [kernel, kernel, 128, 768]


def test_auxiliary_features_of_large_images_are_averaged(rng):
  inputs = tf.constant(rng.uniform(0, 1, [2, 23, 19, 8]).astype(np.float32))
  # The last kernel's input at each of its three positions.
  parts = [inputs[:, 3 * y:3 * y + 17, :17] for y in (0, 1, 2)]
  with tf.Graph().as_default(), v1.Session() as session, \
      layers.arg_scope(inception_blocks.inception_arg_scope()), \
      layers.arg_scope([layers.batch_norm], is_training=False):
    def features(images):
      with v1.variable_scope('head', reuse=v1.AUTO_REUSE):
        return inception_blocks.auxiliary_features(tf.constant(images.numpy()), 'last')
    whole, parts = features(inputs), [features(part) for part in parts]
    session.run(v1.global_variables_initializer())
    whole, parts = session.run([whole, parts])
  assert np.abs(parts[0] - parts[1]).max() > 0.01 * parts[0].std()
  np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=0, atol=1e-5 * whole.std())


@pytest.mark.parametrize('function', [inception_v2.inception_v2, inception_v3.inception_v3])
def test_depth_multiplier(function):
  with tf.Graph().as_default():
    features, end_points = function(tf.zeros([1, 80, 80, 3]), None, is_training=False,
                                    depth_multiplier=0.5)
    assert features.shape == [1, {'inception_v2': 512, 'inception_v3': 1024}[function.__name__]]
    assert end_points['Conv2d_2b_1x1' if 'Conv2d_2b_1x1' in end_points else
                      'Conv2d_2b_3x3'].shape[-1] == 32
  with tf.Graph().as_default():
    _, end_points = function(tf.zeros([1, 80, 80, 3]), None, is_training=False,
                             depth_multiplier=0.01)
    assert min(value.shape[-1] for value in end_points.values()) == 16
  with pytest.raises(ValueError, match='depth_multiplier'):
    function(tf.zeros([1, 80, 80, 3]), 10, depth_multiplier=0)
