"""Networks of `keras.applications` with random values, and their variables in files."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from nets import outline
from scripts.oracles import keras_models
from slim_zoo.weights import restore, sources

A = keras.applications
CLASSES = 12
# Keras' function and arguments, and an odd and an even size at which both compute the same: in
# MobileNet V1 convolutions are not padded alike, in ResNet V2 the first pooling is not; VGG has one
# size here.
MODELS = {
  'inception_resnet_v2': (A.InceptionResNetV2, {}, (107, 130)),
  'inception_v3': (A.InceptionV3, {}, (107, 130)),
  **{f'mobilenet_v1{name}': (A.MobileNet, {'alpha': alpha}, (96, 64)) for name, alpha in (
    ('', 1.0), ('_025', 0.25), ('_050', 0.5), ('_075', 0.75))},
  **{f'mobilenet_v2{name}': (A.MobileNetV2, {'alpha': alpha}, (97, 64)) for name, alpha in (
    ('', 1.0), ('_035', 0.35), ('_050', 0.5), ('_140', 1.4))},
  **{f'mobilenet_v3_{name}': (function, {'minimalistic': minimalistic,
                                         'include_preprocessing': False}, (97, 64))
     for name, function, minimalistic in (
       ('large', A.MobileNetV3Large, False), ('large_minimalistic', A.MobileNetV3Large, True),
       ('small', A.MobileNetV3Small, False), ('small_minimalistic', A.MobileNetV3Small, True))},
  'nasnet_large': (A.NASNetLarge, {}, (97, 64)),
  'nasnet_mobile': (A.NASNetMobile, {}, (97, 64)),
  'resnet101_keras': (A.ResNet101, {}, (97, 64)),
  'resnet152_keras': (A.ResNet152, {}, (97, 64)),
  'resnet50_keras': (A.ResNet50, {}, (97, 64)),
  'resnet_v2_101': (A.ResNet101V2, {}, (97, 66)),
  'resnet_v2_152': (A.ResNet152V2, {}, (97, 66)),
  'resnet_v2_50': (A.ResNet50V2, {}, (97, 66)),
  'vgg_16': (A.VGG16, {}, (224,)),
  'vgg_19': (A.VGG19, {}, (224,)),
}


def make(name, size, **arguments):
  function, own, _ = MODELS[name]
  arguments = {'classes': CLASSES, 'classifier_activation': None, **own, **arguments}
  model = function(input_shape=(size, size, 3), weights=None, **arguments)
  return keras_models.with_poolings_of_slim(model) if name.startswith('nasnet') else model


def images_of(rng, batch, size):
  return rng.uniform(-1, 1, [batch, size, size, 3]).astype(np.float32)


def randomize(name, model, rng):
  """Assigns values so that every layer affects the outputs; moving averages are of its images."""
  for layer in model.layers:
    for variable in layer.weights:
      shape, kind = variable.shape, variable.name.split('/')[-1]
      if kind == 'gamma':
        value = rng.uniform(0.5, 1.5, shape)
      elif kind in ('beta', 'bias'):
        value = rng.normal(0, 0.2, shape)
      elif 'kernel' in kind:
        is_depthwise = kind == 'depthwise_kernel' or isinstance(
          layer, keras.layers.DepthwiseConv2D)
        inputs = np.prod(shape[:2] if is_depthwise else shape[:-1])
        value = rng.standard_normal(shape, np.float32) * np.sqrt(2 / inputs)
      else:
        continue
      variable.assign(value)
    if isinstance(layer, keras.layers.BatchNormalization):
      layer.momentum = 0.0
  if name.startswith('resnet_v2'):  # Positive values are pooled alike.
    bias = model.get_layer('conv1_conv').bias
    bias.assign(bias + 5)
  model(images_of(rng, 4, model.input_shape[1]), training=True)
  for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):  # Avoids division by small numbers.
      variance = layer.moving_variance
      variance.assign(variance + 0.3 * tf.reduce_mean(variance))


def ours_of(name, num_classes=CLASSES):
  traced = outline.trace(name, num_classes, image_shape=(MODELS[name][2][0],) * 2 + (3,))
  return {**traced.trainable, **traced.others}


def match(path, name, ours, exclude=()):
  """Opens a file; returns the values for our variables, and the report."""
  weights = sources.open_weights(str(path))
  report = restore.plan(weights.source, ours, weights.takes(name, ours), exclude=exclude)
  restore.check(report)
  return {row.name: restore.value(row, weights.source) for row in report.rows
          if row.status == restore.RESTORED}, report
