"""Networks of `keras.applications`, saved by Keras in each of its formats and loaded here."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_networks import CLASSES, MODELS, images_of, make, match, ours_of, randomize

from nets import nets_factory
from scripts.oracles import keras_models
from slim_zoo.weights import sources
from slim_zoo.weights.dialects import keras as names
from slim_zoo.weights.dialects import objects

QUICK = ('mobilenet_v1_025',)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def mark(name):
  return name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough)


of_each = pytest.mark.parametrize('name', [mark(name) for name in MODELS])


def test_every_network_of_the_table_is_tested():
  assert sorted(MODELS) == sorted(names.NETWORKS)
  assert set(MODELS) <= set(nets_factory.NETS)


def save(model, folder):
  """Saves in all formats, and as an object-based checkpoint with an optimizer."""
  optimizer = keras.optimizers.SGD(momentum=0.9)
  optimizer.build(model.trainable_variables)
  tf.train.Checkpoint(net=model, trainer=optimizer).write(str(folder / 'objects'))
  return [*keras_models.save(model, folder), folder / 'objects',
          keras_models.save_tfjs(model, folder / 'tfjs')]


@of_each
def test_logits_equal_keras(name, rng, tmp_path):
  sizes = MODELS[name][2]
  model = make(name, sizes[0])
  randomize(name, model, rng)
  ours, expected = ours_of(name), None
  for path in save(model, tmp_path):
    values, report = match(path, name, ours)
    assert report.unused == () and list(values) == list(ours), path
    is_whole = path.name in ('model.keras', 'model.h5')
    assert sources.open_weights(str(path)).metadata.get('image_size') == (
      sizes[0] if is_whole else None), path
    expected = values if expected is None else expected
    for key, value in values.items():
      np.testing.assert_array_equal(value, expected[key], err_msg=f'{path}: {key}')
    del values
  network = nets_factory.build_network(name, image_shape=(sizes[0], sizes[0], 3),
                                       num_classes=CLASSES)
  for key, value in expected.items():
    network.variables[key].assign(value)
  for size in sizes:
    images = images_of(rng, 2, size)
    if size != sizes[0]:
      arrays = model.get_weights()
      model = make(name, size)
      model.set_weights(arrays)
    # Keras' VGG is for BGR images; folding makes it ours for RGB.
    theirs = model(images[..., ::-1] if name.startswith('vgg') else images, training=False).numpy()
    logits = network(images, is_training=False)[0].numpy()
    difference = np.abs(logits - theirs).max() / theirs.std()
    print(f'{name} at {size}: {difference:.1e}')
    assert np.abs(theirs[0] - theirs[1]).max() > 0.01 * theirs.std()
    assert difference < 1e-4


@pytest.mark.slow
def test_vgg_without_its_head_is_folded_for_rgb(rng, tmp_path):
  model = make('vgg_16', 32, include_top=False)
  ours = ours_of('vgg_16')
  for path in save(model, tmp_path):
    values, report = match(path, 'vgg_16', ours, exclude=['vgg_16/fc*'])
    assert report.unused == ()
    for block, layer in ((1, 1), (3, 2), (5, 3)):
      kernel, bias = (v.numpy() for v in model.get_layer(f'block{block}_conv{layer}').weights)
      kernel = kernel[:, :, ::-1] if (block, layer) == (1, 1) else kernel
      scope = f'vgg_16/conv{block}/conv{block}_{layer}'
      np.testing.assert_array_equal(values[f'{scope}/weights'], kernel)
      np.testing.assert_array_equal(values[f'{scope}/biases'], bias)


@pytest.mark.slow
def test_networks_without_their_head(rng, tmp_path):
  """As part of another model or alone, with the rest excluded."""
  name = 'mobilenet_v1_025'
  body = make(name, 32, include_top=False)
  model = keras.Sequential([keras.Input((32, 32, 3)), body, keras.layers.GlobalMaxPooling2D(),
                            keras.layers.Dense(5, name='mine')])
  ours, expected = ours_of(name), {}
  (tmp_path / 'whole').mkdir()
  for path in (*save(body, tmp_path), *save(model, tmp_path / 'whole')):
    with pytest.raises(ValueError, match='MobilenetV1/Logits/Conv2d_1c_1x1/weights: not in'):
      match(path, name, ours)
    values, report = match(path, name, ours, exclude=['MobilenetV1/Logits'])
    assert len(values) == 135 and len(report.unused) == (2 if 'whole' in path.parts else 0)
    expected = expected or values
    for key, value in values.items():
      np.testing.assert_array_equal(value, expected[key], err_msg=f'{path}: {key}')


def keys(dialect, ours, theirs):
  return {name: take.key for name, take in dialect.takes(ours, theirs).items()}


def renamed(theirs, function):
  return {f'{function(layer)}/{variable}': shape for layer, variable, shape in (
    (*name.rsplit('/', 1), shape) for name, shape in theirs.items())}


def shapes_of(name):
  """Keras' arrays, in Keras' order: `{'layer/variable': shape}`."""
  keras.backend.clear_session()
  model = make(name, MODELS[name][2][1])
  return {f'{layer.name}/{variable.name.split("/")[-1]}': tuple(variable.shape)
          for layer in model.layers for variable in layer.weights}


def test_numbered_layers_are_matched_by_rank():
  ours, theirs = ours_of('inception_v3'), shapes_of('inception_v3')
  ours |= {'InceptionV3/AuxLogits/Conv2d_1b_1x1/weights': (1, 1, 768, 128)}
  dialect, = names.dialects('inception_v3')
  plain = keys(dialect, ours, theirs)
  assert sorted(plain.values()) == sorted(theirs)
  for first, step in ((1, 1), (95, 1), (7, 3)):
    def renumber(layer, first=first, step=step):
      found = re.fullmatch(r'(conv2d|batch_normalization)_?(\d*)', layer)
      return f'{found[1]}_{first + step * int(found[2] or 0)}' if found else layer
    found = keys(dialect, ours, renamed(theirs, renumber))
    assert found == {name: '{}/{}'.format(renumber(key.split('/')[0]), key.split('/')[1])
                     for name, key in plain.items()}


def older_v3(layer):
  """The names that MobileNet V3's layers had in Keras 2."""
  layer = layer.replace('squeeze_excite_conv', 'squeeze_excite_Conv')
  for part in ('squeeze_excite_', 'expand', 'depthwise', 'project'):
    layer = layer.replace(f'_{part}', f'/{part.rstrip("_")}' + ('/' if part[-1] == '_' else ''))
  layer = f'{layer.removesuffix("_bn")}/BatchNorm' if layer.endswith('_bn') else layer
  return layer.replace('conv', 'Conv', 1) if layer.startswith('conv') else layer.replace(
    'logits', 'Logits')


def test_names_of_keras_2():
  ours, theirs = ours_of('mobilenet_v3_small'), shapes_of('mobilenet_v3_small')
  dialect, = names.dialects('mobilenet_v3_small')
  older = renamed(theirs, older_v3)
  assert {'Conv/BatchNorm/beta', 'expanded_conv/squeeze_excite/Conv_1/bias',
          'expanded_conv_1/expand/BatchNorm/gamma', 'Logits/kernel'} <= set(older)
  assert sorted(keys(dialect, ours, older).values()) == sorted(older)

  ours, theirs = ours_of('mobilenet_v1_025'), shapes_of('mobilenet_v1_025')
  dialect, = names.dialects('mobilenet_v1_025')
  older = {key.replace('kernel', 'depthwise_kernel') if key.startswith('conv_dw') else key: shape
           for key, shape in theirs.items()}
  assert sorted(keys(dialect, ours, older).values()) == sorted(older)


def test_unknown_names_are_matched_by_order_if_the_number_of_layers_fits():
  ours, theirs = ours_of('mobilenet_v2_035'), shapes_of('mobilenet_v2_035')
  dialect, = names.dialects('mobilenet_v2_035')
  layers = {layer: f'x{i}' for i, layer in enumerate(
    dict.fromkeys(key.split('/')[0] for key in theirs))}
  other = renamed(theirs, layers.get)
  plain, found = keys(dialect, ours, theirs), keys(dialect, ours, other)
  assert {name: f'{layers[key.split("/")[0]]}/{key.split("/")[1]}'
          for name, key in plain.items()} == found
  assert not set(other) & set(keys(dialect, ours, {**other, 'more/kernel': (1,)}).values())


@pytest.mark.parametrize('arguments', [lambda v: dict(v), lambda v: {'variables': dict(v)}])
def test_object_based_checkpoints_of_ours(tmp_path, arguments, rng):
  ours = {name: tf.Variable(rng.normal(size=shape[-1:]).astype(np.float32))
          for name, shape in ours_of('mobilenet_v1_025').items()}
  ours['odd.name/..S/x'] = tf.Variable([3.0])
  tf.train.Checkpoint(**arguments(ours)).save(str(tmp_path / 'model'))
  values, report = match(tmp_path, 'mobilenet_v1_025',
                         {name: tuple(v.shape) for name, v in ours.items()})
  assert report.unused == ()
  for name, value in values.items():
    np.testing.assert_array_equal(value, ours[name])


def test_object_based_checkpoints_of_keras_2():
  ours, theirs = ours_of('mobilenet_v1_025'), shapes_of('mobilenet_v1_025')
  order = list(dict.fromkeys(key.split('/')[0] for key in theirs))
  older = {}
  for key, shape in reversed(theirs.items()):
    layer, variable = key.split('/')
    is_depthwise = layer.startswith('conv_dw') and variable == 'kernel'
    number, variable = order.index(layer), 'depthwise_kernel' if is_depthwise else variable
    older[f'model/layer_with_weights-{number}/{variable}'] = shape
  _, dialect = objects.dialects('mobilenet_v1_025')
  assert sorted(keys(dialect, ours, older).values()) == sorted(older)
  assert objects.dialects('lenet')[1:] == ()


@pytest.mark.parametrize('graph', [b'\xff', b'\x0a\x7f', b'\x0a\x06\x0a\x04\x08\x7f\x12\x00'])
def test_damaged_graph_of_objects(tmp_path, graph):
  prefix = str(tmp_path / 'model')
  tf.raw_ops.SaveV2(prefix=prefix, tensor_names=['_CHECKPOINTABLE_OBJECT_GRAPH'],
                    shape_and_slices=[''], tensors=[tf.constant(graph)])
  with pytest.raises(ValueError, match='Expected: one of tf.train.Checkpoint. Received: '):
    sources.open_weights(prefix)


def test_preprocessing_and_notes_of_files():
  for name, preprocessing in (('resnet_v2_50', 'inception'), ('mobilenet_v2', None),
                              ('vgg_16', None), ('resnet50_keras', None)):
    dialect = names.dialects(name)[0]
    assert dialect.preprocessing == preprocessing
    assert bool(dialect.note) == name.startswith('resnet_v2')
  assert names.dialects('lenet') == ()
