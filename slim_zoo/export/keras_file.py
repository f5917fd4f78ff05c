"""Keras models: a `.keras` file with a network of `keras.applications` and our variables.

The file contains the network, so that `keras.models.load_model` needs nothing of this project. The
layers' names are those of `keras.applications`, whose model loads the weights of the file as well.
Its MobileNet, ResNet V2 and NASNet pad otherwise than the network in the file does.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from slim_zoo.export import equivalents, runner
from slim_zoo.export.model import Model
from slim_zoo.weights.dialects import dialect
from slim_zoo.weights.dialects import keras as names

if TYPE_CHECKING:
  import keras

INPUT, PROBABILITIES = 'images', 'predictions'

_ACTIVATIONS = {tf.nn.softmax: 'softmax', tf.nn.sigmoid: 'sigmoid'}  # Keras' names.
# Keras pads before some layers, otherwise than TensorFlow's 'SAME', which ours use: MobileNet does
# before convolutions with a stride, ResNet V2 and NASNet before poolings.
_PADDED_OTHERWISE = re.compile(r'MobileNet|ResNet\d+V2|NASNet\w+')
_PADDING = re.compile(r'conv_pad_\d+|pool1_pad|reduction_pad_1_\w+')
_PADDED = re.compile(r'conv_dw_\d+|pool1_pool|reduction_(left2|left3|right5)_\w+')


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Writes Keras' network with our variables, and with probabilities as its output.

  Args:
    model: the network.
    path: of the file; it ends in `.keras`.

  Raises:
    ValueError: if Keras does not have the network, or not for images of this size.
  """
  equivalents.check(model, 'keras.applications', names.NETWORKS)
  network = _network(model)
  _assign(model, network)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)  # Keras' own use of NumPy.
    network.save(path)


def _network(model: Model) -> keras.Model:
  """Builds Keras' network; its padding is changed where it differs from ours."""
  import keras  # The import takes a second, and other exports do not need it.
  known = names.NETWORKS[model.name]
  images = keras.Input(model.image_shape, name=INPUT)
  network = getattr(keras.applications, known.model)(
      # Ours are RGB. So the weights can be Keras', for BGR.
      input_tensor=keras.ops.flip(images, -1) if known.is_bgr else images,
      input_shape=tuple(model.image_shape), weights=None, classes=model.network.num_classes,
      classifier_activation=_ACTIVATIONS[model.activation], **known.arguments)
  network = keras.Model(images, network.outputs[0], name=network.name)  # Not a list of inputs.
  if not _PADDED_OTHERWISE.fullmatch(known.model):
    return network
  return keras.models.clone_model(network, clone_function=_padded_like_ours)


def _padded_like_ours(layer: keras.Layer) -> keras.Layer:
  """Copies a layer, with our padding."""
  import keras
  if _PADDING.fullmatch(layer.name):
    return keras.layers.Activation('linear', name=layer.name)
  config = layer.get_config()
  if _PADDED.fullmatch(layer.name):
    config['padding'] = 'same'
  return type(layer).from_config(config)


def _assign(model: Model, network: keras.Model) -> None:
  """Assigns our variables to Keras' network.

  Raises:
    ValueError: if it has other variables, since the images have another size.
  """
  variables = {f'{layer.name}/{variable.name.rpartition("/")[2]}': variable
               for layer in network.layers for variable in layer.weights}
  arrays = dialect.arrays_of(names.dialects(model.name)[0], model.values(),
                             {name: tuple(variable.shape) for name, variable in variables.items()})
  for name, variable in variables.items():
    if np.prod(variable.shape) != arrays[name].size:
      raise ValueError(
          f"Expected: images for which Keras' {names.NETWORKS[model.name].model} has weights of "
          f'the shape {arrays[name].shape}. Received: {model.image_size}×{model.image_size} pixels,'
          f' for which {name} has the shape {tuple(variable.shape)}. Use another --image_size, or '
          'choose another target.')
    variable.assign(arrays[name].reshape(variable.shape))


def open_export(path: str | os.PathLike[str]) -> runner.Runner:
  """Loads a model, and removes the activation of its last layer."""
  import keras
  network = keras.models.load_model(path, compile=False)
  network.layers[-1].activation = keras.activations.linear
  compute = tf.function(lambda images: network(images, training=False), autograph=False,
                        input_signature=[tf.TensorSpec(network.input_shape)])
  return {runner.IMAGES: lambda batch: compute(tf.constant(batch)).numpy()}
