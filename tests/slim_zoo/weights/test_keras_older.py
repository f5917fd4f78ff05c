"""Files of older versions of Keras and of TensorFlow.js, made from today's networks."""

from __future__ import annotations

import re

import h5py
import keras
import numpy as np
import pytest
from keras_networks import CLASSES, MODELS, images_of, make, match, ours_of, randomize

from nets import nets_factory
from scripts.oracles import keras_models
from slim_zoo.weights import formats, sources
from slim_zoo.weights.dialects import keras as names


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def resnet50_of_keras_2(layer):
  found = re.fullmatch(r'conv(\d)_block(\d)_(\d)_(conv|bn)', layer)
  if not found:
    return {'conv1_conv': 'conv1', 'conv1_bn': 'bn_conv1', 'predictions': 'fc1000'}.get(layer,
                                                                                        layer)
  stage, block, number, kind = found.groups()
  return (f'{"res" if kind == "conv" else "bn"}{stage}{"abcdef"[int(block) - 1]}_branch'
          + ('1', '2a', '2b', '2c')[int(number)])


def numbered_from_one(layer):
  found = re.fullmatch(r'(conv2d|batch_normalization)_?(\d*)', layer)
  return f'{found[1]}_{int(found[2] or 0) + 1}' if found else layer


def variable_of_keras_1(layer, name):
  kinds = {'kernel': 'W', 'bias': 'b', 'moving_mean': 'running_mean',
           'moving_variance': 'running_std'}
  return f'{layer}_{kinds.get(name, name)}_1:0'


def variable_of_keras_2(layer, name):
  is_depthwise = layer.startswith('conv_dw') and name == 'kernel'
  return f'{layer}/{"depthwise_kernel" if is_depthwise else name}:0'


# The files of the releases of fchollet/deep-learning-models.
OLDER = {
  'inception_v3': (numbered_from_one, variable_of_keras_2),
  'mobilenet_v1_025': (str, variable_of_keras_2),
  'resnet50_keras': (resnet50_of_keras_2, variable_of_keras_1),
  'vgg_16': (str, variable_of_keras_1),
  'vgg_19': (str, variable_of_keras_1),
}


def older_model(name, size, rng, **arguments):
  """A network with random values and, for ResNet50, the epsilon that it had in Keras 2."""
  keras.backend.clear_session()
  model = make(name, size, **arguments)
  if name == 'resnet50_keras':
    for layer in model.layers:
      if isinstance(layer, keras.layers.BatchNormalization):
        layer.epsilon = 1e-3
  randomize(name, model, rng)
  return model


@pytest.mark.parametrize('name', [
  # MobileNet and ResNet-50 stand for the others, which thorough runs test.
  name if name == 'mobilenet_v1_025' else pytest.param(
      name, marks=pytest.mark.slow if name == 'resnet50_keras' else pytest.mark.thorough)
  for name in OLDER])
def test_logits_of_files_of_older_versions(name, rng, tmp_path):
  size = MODELS[name][2][0]
  model = older_model(name, size, rng)
  layer, variable = OLDER[name]
  keras_models.save_older(model, tmp_path / 'older.h5', layer=layer, variable=variable)
  ours = ours_of(name)
  network = nets_factory.build_network(name, image_shape=(size, size, 3), num_classes=CLASSES)
  images = images_of(rng, 2, size)
  theirs = model(images[..., ::-1] if name.startswith('vgg') else images, training=False).numpy()
  paths = [tmp_path / 'older.h5', keras_models.save_tfjs(model, tmp_path / 'tfjs', layer=layer)]
  for path in paths:
    values, report = match(path, name, ours)
    assert report.unused == () and list(values) == list(ours)
    for key, value in values.items():
      network.variables[key].assign(value)
    logits = network(images, is_training=False)[0].numpy()
    difference = np.abs(logits - theirs).max() / theirs.std()
    print(f'{name} of an older version, {path.name}: {difference:.1e}')
    assert difference < 1e-4


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float16'])
def test_logits_of_quantized_models_of_tensorflow_js(dtype, rng, tmp_path):
  name, size = 'mobilenet_v1_025', 64
  model = make(name, size)
  randomize(name, model, rng)
  path = keras_models.save_tfjs(model, tmp_path / 'tfjs', dtype=dtype, shard=2 ** 16)
  for layer in model.layers:
    for variable in layer.weights:
      stored, facts = keras_models.quantized(variable.numpy(), dtype)
      variable.assign(stored.astype(np.float64) * facts.get('scale', 1) + facts.get('min', 0))
  values, report = match(path, name, ours_of(name))
  assert report.unused == ()
  network = nets_factory.build_network(name, image_shape=(size, size, 3), num_classes=CLASSES)
  for key, value in values.items():
    network.variables[key].assign(value)
  images = images_of(rng, 2, size)
  theirs = model(images, training=False).numpy()
  difference = np.abs(network(images, is_training=False)[0].numpy() - theirs).max() / theirs.std()
  print(f'{name} in {dtype}: {difference:.1e}')
  assert difference < 1e-4


@pytest.mark.thorough
@pytest.mark.parametrize('name', OLDER)
def test_files_of_older_versions_without_their_head(name, rng, tmp_path):
  model = older_model(name, MODELS[name][2][0], rng, include_top=False)
  layer, variable = OLDER[name]
  keras_models.save_older(model, tmp_path / 'older_notop.h5', layer=layer, variable=variable)
  ours = ours_of(name)
  head = [scope for scope in nets_factory.get_net(name).head if not scope.endswith('AuxLogits')]
  head = ['vgg_*/fc*'] if name.startswith('vgg') else head
  with pytest.raises(ValueError, match='not in the checkpoint'):
    match(tmp_path / 'older_notop.h5', name, ours)
  values, report = match(tmp_path / 'older_notop.h5', name, ours, exclude=head)
  assert report.unused == () and len(values) == len(model.weights)


def test_names_of_the_first_resnet50_say_what_differs():
  shapes = {'res2a_branch2a/kernel': (1, 1, 64, 64), 'bn2a_branch2a/moving_variance': (64,)}
  file = sources.Arrays('old.h5', {name: np.ones(shape, np.float32)
                                   for name, shape in shapes.items()})
  weights = sources.Weights(file, {}, next(
    known for known in formats.FORMATS if '.h5' in known.name))
  scope = 'resnet50_keras/block1/unit_1/bottleneck_v1/conv1'
  ours = {f'{scope}/weights': (1, 1, 64, 64), f'{scope}/BatchNorm/moving_variance': (64,)}
  assert 'pooling' in weights.facts('resnet50_keras', ours)['note']
  takes = weights.takes('resnet50_keras', ours)
  assert [take.key for take in takes.values()] == list(shapes)
  variance = takes[f'{scope}/BatchNorm/moving_variance'].apply(np.ones(64), (64,))
  np.testing.assert_allclose(variance - 1, 1e-3 - 1.001e-5, rtol=1e-6)


@pytest.mark.parametrize(('file', 'backend', 'reason'), [
  ('vgg16_weights_th_dim_ordering_th_kernels.h5', None, 'th_dim_ordering'),
  ('vgg16_weights_tf_dim_ordering_th_kernels_notop.h5', None, 'th_kernels'),
  ('mine.h5', 'theano', "backend 'theano'"), ('mine.h5', 'tensorflow', r'\[64, 3, 3, 3\]'),
  ('mine.h5', None, r'\[64, 3, 3, 3\]'), ('with_kernels.h5', None, r'\[64, 3, 3, 3\]')])
def test_kernels_for_theano_are_refused(tmp_path, file, backend, reason):
  with h5py.File(tmp_path / file, 'w') as opened:
    opened.attrs['layer_names'] = [b'block1_conv1']
    if backend:
      opened.attrs['backend'] = backend.encode()
    group = opened.create_group('block1_conv1')
    group.attrs['weight_names'] = [b'block1_conv1_W', b'block1_conv1_b']
    group['block1_conv1_W'] = np.ones((64, 3, 3, 3), np.float32)
    group['block1_conv1_b'] = np.ones(64, np.float32)
  with pytest.raises(ValueError, match=f'{file} .*{reason}.*tf_dim_ordering_tf_kernels|'
                     f'{file} .*tf_dim_ordering_tf_kernels.*{reason}') as error:
    match(tmp_path / file, 'vgg_16', ours_of('vgg_16'))
  assert '\n' not in str(error.value)


def test_inception_v3_of_keras_1_is_refused():
  dialect, = names.dialects('inception_v3')
  shapes = {'convolution2d_1/kernel': (3, 3, 3, 32), 'convolution2d_1/bias': (32,),
            'batchnormalization_1/gamma': (32,)}
  with pytest.raises(ValueError, match="'convolution2d_1'.*v0.5"):
    dialect.takes(ours_of('inception_v3'), shapes)
