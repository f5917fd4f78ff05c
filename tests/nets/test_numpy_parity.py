"""AlexNet, CaffeNet, CifarNet and LeNet against forward passes in NumPy, from their papers."""

from __future__ import annotations

import numpy as np
import pytest

from nets import nets_factory


def relu(x):
  return np.maximum(x, 0)


def windows(x, size, stride):
  """[batch, height, width, channels] -> [batch, height, width, channels, size, size]."""
  view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
  return view[:, ::stride, ::stride]


def conv(x, layer, stride=1, pad=0, groups=1):
  weights, biases = layer
  size = weights.shape[0]
  x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
  outputs = [
    np.einsum('bhwcij,ijco->bhwo', windows(part, size, stride), kernel, optimize=True)
    for part, kernel in zip(np.split(x, groups, axis=3), np.split(weights, groups, axis=3),
                            strict=True)]
  return relu(np.concatenate(outputs, axis=3) + biases)


def pool(x, size, stride):
  return windows(x, size, stride).max(axis=(4, 5))


def normalize(x, local_size, alpha, beta):
  """Caffe's: alpha is divided by the number of channels in the window."""
  around = local_size // 2
  squares = np.pad(x ** 2, [(0, 0), (0, 0), (0, 0), (around, around)])
  total = sum(squares[..., i:i + x.shape[3]] for i in range(local_size))
  return x / (1 + alpha / local_size * total) ** beta


def fully_connected(x, layer):
  weights, biases = layer
  x = x.reshape(len(x), -1)
  return x @ weights.reshape(x.shape[1], -1) + biases


def alexnet(x, p):
  x = pool(normalize(conv(x, p['conv1'], stride=4), 5, 1e-4, 0.75), 3, 2)
  x = pool(normalize(conv(x, p['conv2'], pad=2, groups=2), 5, 1e-4, 0.75), 3, 2)
  return _rest_of_alexnet(x, p)


def caffenet(x, p):
  x = normalize(pool(conv(x, p['conv1'], stride=4), 3, 2), 5, 1e-4, 0.75)
  x = normalize(pool(conv(x, p['conv2'], pad=2, groups=2), 3, 2), 5, 1e-4, 0.75)
  return _rest_of_alexnet(x, p)


def _rest_of_alexnet(x, p):
  x = conv(x, p['conv3'], pad=1)
  x = conv(x, p['conv4'], pad=1, groups=2)
  x = pool(conv(x, p['conv5'], pad=1, groups=2), 3, 2)
  x = relu(fully_connected(x, p['fc6']))
  x = relu(fully_connected(x, p['fc7']))
  return fully_connected(x, p['fc8'])


def cifarnet(x, p):
  x = normalize(pool(conv(x, p['conv1'], pad=2), 2, 2), 9, 0.001, 0.75)
  x = pool(normalize(conv(x, p['conv2'], pad=2), 9, 0.001, 0.75), 2, 2)
  x = relu(fully_connected(x, p['fc3']))
  x = relu(fully_connected(x, p['fc4']))
  return fully_connected(x, p['logits'])


def lenet(x, p):
  x = pool(conv(x, p['conv1'], pad=2), 2, 2)
  x = pool(conv(x, p['conv2'], pad=2), 2, 2)
  x = relu(fully_connected(x, p['fc3']))
  return fully_connected(x, p['fc4'])


@pytest.mark.parametrize(('function', 'shape', 'scale'), [
  (alexnet, (227, 227, 3), 60),  # Normalization has an effect only at Caffe's scale of pixels.
  (alexnet, (242, 242, 3), 60),
  (caffenet, (227, 227, 3), 60),
  (cifarnet, (32, 32, 3), 10),
  (cifarnet, (21, 26, 1), 10),
  (lenet, (28, 28, 1), 1),
  (lenet, (17, 20, 3), 1),
])
def test_logits(function, shape, scale, rng, randomize):
  network = nets_factory.build_network(function.__name__, image_shape=shape, num_classes=10)
  values = randomize(network)
  layers = {}
  for name, value in values.items():
    layers.setdefault(name.split('/')[1], []).append(value)
  images = rng.normal(0, scale, [2, *shape]).astype(np.float32)
  expected = function(images, layers)
  logits, _ = network(images, is_training=False)
  assert np.abs(expected[0] - expected[1]).max() > 0.01 * expected.std()
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std())
