"""Layers at the end of several networks, and the check of the images at the start of all."""

from __future__ import annotations

import tensorflow as tf

from nets import layers


def check_images(images: tf.Tensor, smallest: int, scope: str) -> None:
  """Checks that images are large enough for a network.

  Args:
    images: [batch, height, width, channels]; a height or width that is not static is accepted.
    smallest: minimum height and width at which every layer of the network has an output.
    scope: the network's scope, for the error.

  Raises:
    ValueError: if the images are not of rank 4 or are smaller.
  """
  if images.shape.rank != 4:
    raise ValueError(f'{scope}: expected images [batch, height, width, channels]. '
                     f'Received the shape {images.shape}.')
  height, width = layers.spatial_size(images)
  if any(size is not None and size < smallest for size in (height, width)):
    raise ValueError(f'{scope}: expected images of at least {smallest}×{smallest} pixels. '
                     f'Received {height}×{width}. Choose a larger image size.')


def spatial_mean(inputs: tf.Tensor) -> tf.Tensor:
  """Averages [batch, height, width, channels], in float32, to [batch, 1, 1, channels]."""
  if layers.spatial_size(inputs) == (1, 1):
    return inputs
  mean = tf.reduce_mean(tf.cast(inputs, tf.float32), [1, 2], keepdims=True)
  return tf.cast(mean, inputs.dtype)


def global_pool(inputs: tf.Tensor, end_points: dict) -> tf.Tensor:
  """Averages each channel over the image, in float32, as the end point `global_pool`.

  Args:
    inputs: [batch, height, width, channels].
    end_points: gains `global_pool`, [batch, 1, 1, channels].

  Returns:
    [batch, 1, 1, channels], of the inputs' type.
  """
  end_points['global_pool'] = outputs = spatial_mean(inputs)
  return outputs


def squeeze(inputs: tf.Tensor) -> tf.Tensor:
  """Reshapes [batch, 1, 1, channels] to [batch, channels]."""
  return tf.squeeze(inputs, [1, 2])


def add_predictions(logits: tf.Tensor, end_points: dict) -> tuple[tf.Tensor, dict]:
  """Adds the end points that all networks have.

  Args:
    logits: [batch, num_classes].
    end_points: gains `Logits`, and `Predictions`: their softmax, float32 [batch, num_classes].

  Returns:
    Both arguments.
  """
  end_points['Logits'] = logits
  end_points['Predictions'] = tf.nn.softmax(tf.cast(logits, tf.float32))
  return logits, end_points


def fully_connected_head(inputs: tf.Tensor, num_classes: int | None, *, kernel_size: int,
                         is_training: bool, dropout_keep_prob: float, end_points: dict,
                         width: int = 4096, drops_features: bool = True, weights_initializer=None,
                         biases_initializer=None,
                         logits_initializer=None) -> tuple[tf.Tensor, dict]:
  """The last three layers of AlexNet, VGG and OverFeat, as the convolutions they are in TF-Slim.

  `fc6` covers its input at the network's own image size. With larger images its output is a map,
  which is averaged after `fc7`: since the classifier is linear, in inference this is the mean of
  the logits over all positions.

  Args:
    inputs: [batch, height, width, channels], at least `kernel_size` high and wide.
    num_classes: number of classes; 0 or None omits `fc8`.
    kernel_size: height and width of the kernels of `fc6`.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fc6` and `fc7` that dropout keeps.
    end_points: gains the layers, `global_pool`, `Logits` and `Predictions`.
    width: channels of `fc6`.
    drops_features: whether there is dropout after `fc7` too.
    weights_initializer: of `fc6` and `fc7`; Xavier's uniform one by default.
    biases_initializer: of `fc6` and `fc7`; zeros by default.
    logits_initializer: of the weights of `fc8`; Xavier's uniform one by default.

  Returns:
    Logits [batch, num_classes], or without classes `fc7` [batch, 4096]; and the end points.
  """
  scope = tf.compat.v1.get_variable_scope().name
  zeros = layers.zeros_initializer()
  with layers.arg_scope([layers.dropout], keep_prob=dropout_keep_prob, is_training=is_training):
    with layers.arg_scope([layers.conv2d], weights_initializer=weights_initializer,
                          biases_initializer=biases_initializer or zeros):
      net = layers.conv2d(inputs, width, kernel_size, padding='VALID', scope='fc6')
      net = layers.dropout(net, scope='dropout6')
      net = layers.conv2d(net, 4096, 1, scope='fc7')
    net = global_pool(net, end_points)
    if not num_classes:
      return squeeze(net), end_points
    if drops_features:
      net = layers.dropout(net, scope='dropout7')
    net = layers.conv2d(net, num_classes, 1, activation_fn=None, scope='fc8',
                        weights_initializer=logits_initializer, biases_initializer=zeros)
  logits = end_points[f'{scope}/fc8'] = squeeze(net)
  return add_predictions(logits, end_points)
