"""TF-Slim's own networks, adapted to run on current TensorFlow, for the fixtures.

The project does not import this module. It patches modules of other packages, so it is used only in
a separate process and environment.
"""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import tensorflow as tf


class HParams(types.SimpleNamespace):
  """The part of TensorFlow 1's `HParams` that NASNet uses."""

  def set_hparam(self, name: str, value) -> None:
    """Changes a parameter."""
    setattr(self, name, value)


def _register_legacy_layers() -> None:
  """Registers modules under the names that tf-slim imports."""
  for name in ('', '.base', '.normalization', '.convolutional', '.core', '.pooling'):
    sys.modules[f'tf_keras.legacy_tf_layers{name}'] = importlib.import_module(
        f'tf_keras.src.legacy_tf_layers{name}')
  sys.modules['tf_keras'].legacy_tf_layers = sys.modules['tf_keras.legacy_tf_layers']


def _register_contrib() -> None:
  training = types.ModuleType('tensorflow.contrib.training')
  training.HParams = HParams
  contrib = types.ModuleType('tensorflow.contrib')
  contrib.training = training
  sys.modules.update({'tensorflow.contrib': contrib, 'tensorflow.contrib.training': training})


def _without_randomness(nasnet_utils: types.ModuleType) -> None:
  """Disables dropout and drop path, so that training can be compared."""
  import tf_slim

  @tf_slim.add_arg_scope
  def dropout(inputs, keep_prob=0.5, is_training=True, *, scope=None, outputs_collections=None):
    del keep_prob, is_training, scope, outputs_collections
    return tf.identity(inputs)

  @tf_slim.add_arg_scope
  def drop_path(net, keep_prob, is_training=True):
    del keep_prob, is_training
    return net

  tf_slim.dropout = tf_slim.layers.dropout = dropout
  nasnet_utils.drop_path = drop_path


def load(folder: str):
  """Imports TF-Slim's `nets_factory`.

  Args:
    folder: `research/slim` of https://github.com/tensorflow/models.
  """
  np.int = int  # Removed in NumPy 1.24; MobileNet V3 uses it.
  _register_legacy_layers()
  _register_contrib()
  sys.path.insert(0, folder)
  _without_randomness(importlib.import_module('nets.nasnet.nasnet_utils'))
  return importlib.import_module('nets.nets_factory')
