"""Files of every format, whatever their names are: their networks, classes and commands."""

from __future__ import annotations

import functools
import json
import pickle
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import test_torch_dialects
import test_torch_files

from nets import nets_factory, outline
from scripts.fuzzing.writers import field
from scripts.oracles import fixtures, values
from slim_zoo.inspection import inspecting, tables
from slim_zoo.inspection.arrays import AVERAGE, COUNTER, SLOT, VARIABLE, measure
from slim_zoo.weights import published
from slim_zoo.weights.published_file import PublishedFile

KERAS = 'mobilenet_v1_025'
CLASSES = 7


@functools.cache
def _values(name, classes=CLASSES, channels=None):
  """Random values of a network's variables."""
  net = nets_factory.get_net(name)
  traced = outline.trace(name, classes, image_shape=[
    net.image_size, net.image_size, channels or net.channels])
  rng = np.random.default_rng(0)
  return {key: rng.normal(1, 0.1, shape).astype(np.float32)
          for key, shape in {**traced.trainable, **traced.others}.items()}


def _save(path, arrays):
  tf.raw_ops.SaveV2(prefix=str(path), tensor_names=list(arrays), tensors=list(arrays.values()),
                    shape_and_slices=[''] * len(arrays))


def _lenet():
  weights = _values('lenet')
  return {**weights, **{f'{name}/Momentum': value for name, value in weights.items()},
          **{f'{name}/ExponentialMovingAverage': value for name, value in weights.items()},
          'global_step': np.int64(20)}


def _v1(path):
  tf.raw_ops.Save(filename=str(path), tensor_names=list(_values('lenet')),
                  data=list(_values('lenet').values()))


def _objects(path):
  variables = {name: tf.Variable(value) for name, value in _values('lenet').items()}
  tf.train.Checkpoint(variables=variables).write(str(path))


def _saved_model(path):
  module = tf.Module()
  module.weights = {name: tf.Variable(value) for name, value in _values('lenet').items()}
  tf.saved_model.save(module, str(path))
  (path / 'model.json').write_text(json.dumps({
    'export': 'SavedModel', 'model_name': 'lenet', 'class_names': list('abcdefg')}))


@functools.cache
def _model():
  import keras
  return keras.applications.MobileNet(alpha=0.25, input_shape=(64, 64, 3), classes=CLASSES,
                                      weights=None)


def _keras(method, suffix, path):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Keras' own: of NumPy, and that .h5 is an old format.
    getattr(_model(), method)(path.with_name(f'x{suffix}'))
  path.with_name(f'x{suffix}').rename(path)


def _keras_objects(path):
  tf.train.Checkpoint(model=_model()).write(str(path))


def _tfjs(path):
  arrays = {f'{layer.name}/{variable.name}': variable.numpy()
            for layer in _model().layers for variable in layer.weights}
  path.with_name('shard').write_bytes(b''.join(array.tobytes() for array in arrays.values()))
  path.write_text(json.dumps({
    'format': 'layers-model', 'modelTopology': {'model_config': json.loads(_model().to_json())},
    'weightsManifest': [{'paths': ['shard'], 'weights': [
      {'name': name, 'shape': array.shape, 'dtype': 'float32'}
      for name, array in arrays.items()]}]}))


@functools.cache
def _state_dict():
  expected = fixtures.read('state_dicts', 'torchvision_squeezenet1_0')
  return {key: values.array_of_torch(key, shape, expected['squares'])
          for key, shape in expected['state_dict'].items()}


def _torch(kind, prefix, path):
  path.write_bytes(test_torch_files._WRITERS[kind](
    {prefix + name: test_torch_files._whole(array) for name, array in _state_dict().items()}))


def _safetensors(path):
  test_torch_dialects.write_safetensors(path, _state_dict())


def _convolutions():
  """The convolutions of AlexNet, which CaffeNet has as well."""
  shapes = {'conv1': (11, 11, 3, 96), 'conv2': (5, 5, 48, 256), 'conv3': (3, 3, 256, 384),
            'conv4': (3, 3, 192, 384), 'conv5': (3, 3, 192, 256)}
  return {name: [np.ones(shape, np.float16), np.zeros(shape[-1], np.float32)]
          for name, shape in shapes.items()}


def _npy(path):
  with open(path, 'wb') as file:
    np.save(file, np.array(_convolutions(), dtype=object))


def _pickle(protocol, path):
  path.write_bytes(pickle.dumps(_convolutions(), protocol))


def _caffemodel(path):
  layers = b''
  for name, arrays in _convolutions().items():
    blobs = [(arrays[0].astype(np.float32).transpose(3, 2, 0, 1)), arrays[1]]
    layers += field(100, field(1, name) + field(2, 'Convolution') + b''.join(
      field(7, field(5, blob.tobytes()) + field(7, b''.join(field(1, n) for n in blob.shape)))
      for blob in blobs))
  path.write_bytes(field(1, 'AlexNet') + layers)


def _graph():
  with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
    images = tf.compat.v1.placeholder(tf.float32, [1, 28, 28, 1], 'input')
    output, _ = nets_factory.get_network_fn('lenet', CLASSES)(images)
    session.run(tf.compat.v1.global_variables_initializer())
    return tf.compat.v1.graph_util.convert_variables_to_constants(
      session, graph.as_graph_def(), [output.op.name])


def _frozen(path):
  path.write_bytes(_graph().SerializeToString())


def _tflite(path):
  network = nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=CLASSES)
  for name, value in _values('lenet').items():
    network.variables[name].assign(value)
  module = tf.Module()
  module.of_network = list(network.variables.values())
  module.logits = tf.function(lambda images: network(images, is_training=False)[0],
                              autograph=False, input_signature=[tf.TensorSpec([1, 28, 28, 1])])
  path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions(
    [module.logits.get_concrete_function()], module).convert())


def _tgz(path):
  _save(path.with_name('x.ckpt'), _values('lenet'))
  with tarfile.open(path, 'w:gz') as archive:
    for suffix in ('.index', '.data-00000-of-00001'):
      archive.add(path.with_name(f'x.ckpt{suffix}'), f'deep/x.ckpt{suffix}')


def _zip(path):
  _safetensors(path.with_name('x'))
  with zipfile.ZipFile(path, 'w') as archive:
    archive.write(path.with_name('x'), 'deep/weights.dat')


def _folder(path):
  path.mkdir()
  _safetensors(path / 'weights.dat')


LENET, MOBILENET, SQUEEZENET = ('lenet', CLASSES), (KERAS, CLASSES), ('squeezenet', 10)
ALEXNET = ('alexnet', None)
# How to write each format, and its network and classes.
FORMATS = {
  'checkpoint V2': (lambda path: _save(path, _lenet()), LENET), 'checkpoint V1': (_v1, LENET),
  'object-based': (_objects, LENET), 'SavedModel': (_saved_model, LENET),
  'Keras objects': (_keras_objects, MOBILENET),
  'h5': (functools.partial(_keras, 'save', '.h5'), MOBILENET),
  'weights.h5': (functools.partial(_keras, 'save_weights', '.weights.h5'), MOBILENET),
  'keras': (functools.partial(_keras, 'save', '.keras'), MOBILENET), 'tfjs': (_tfjs, MOBILENET),
  'pth': (functools.partial(_torch, 'zip', ''), SQUEEZENET),
  'old pth': (functools.partial(_torch, 'legacy', 'module.'), SQUEEZENET),
  'safetensors': (_safetensors, SQUEEZENET), 'npy': (_npy, ALEXNET),
  'pickle 0': (functools.partial(_pickle, 0), ALEXNET),
  'pickle 1': (functools.partial(_pickle, 1), ALEXNET),
  'pickle 2': (functools.partial(_pickle, 2), ALEXNET),
  'caffemodel': (_caffemodel, ALEXNET), 'pb': (_frozen, LENET), 'tflite': (_tflite, LENET),
  'tgz': (_tgz, LENET), 'zip': (_zip, SQUEEZENET), 'folder': (_folder, SQUEEZENET)}
SLOW = ('Keras objects', 'old pth', 'tflite', 'weights.h5')


@pytest.mark.parametrize('kind', [pytest.param(kind, marks=[pytest.mark.slow] * (kind in SLOW))
                                  for kind in FORMATS])
def test_format_is_recognized_by_content(tmp_path, kind):
  write, (network, classes) = FORMATS[kind]
  path = tmp_path / 'model.bin'
  write(path)
  found = inspecting.look(str(path))
  assert found.fit is not None
  assert (found.fit.network, found.fit.num_classes) == (network, classes)
  assert [found.fit.has_trunk, found.fit.unused] == [classes is not None, ()]
  assert {array.role for array in found.arrays} >= {VARIABLE}
  (listed,) = found.commands.values()
  assert [command.purpose for command in listed] == (
    ['evaluate', 'predict', 'fine-tune'] if classes else ['fine-tune'])
  words = listed[-1].words
  assert f'--checkpoint_path={path}' in words
  assert (f'--model_name={network}' in words) == (kind != 'SavedModel')
  assert ('--use_grayscale' in words) == (network == 'lenet')
  scopes = [scope.split('=')[1] for scope in words if 'scopes=' in scope]
  assert scopes[0] == scopes[1] and scopes[0].endswith(nets_factory.get_net(network).head[0])


def test_roles_and_statistics(tmp_path):
  _save(tmp_path / 'x', _lenet())
  found = inspecting.look(str(tmp_path / 'x'))
  assert {role: len(found.with_role(role)) for role in (VARIABLE, AVERAGE, SLOT, COUNTER)} == {
    VARIABLE: 8, AVERAGE: 8, SLOT: 8, COUNTER: 1}
  assert [array.name for array in found.with_role(VARIABLE)] == list(_values('lenet'))
  for array in found.with_role(VARIABLE):
    value, given = _values('lenet')[array.name].astype(np.float64), array.statistics
    np.testing.assert_allclose([given.minimum, given.maximum, given.mean, given.std],
                               [value.min(), value.max(), value.mean(), value.std()], rtol=1e-9)
  everything = np.concatenate([value.ravel() for value in _values('lenet').values()])
  np.testing.assert_allclose(tables.joined(found.with_role(VARIABLE)).std,
                             everything.astype(np.float64).std(), rtol=1e-9)


def test_statistics_over_several_chunks(monkeypatch):
  monkeypatch.setattr('slim_zoo.inspection.arrays._CHUNK', 7)
  numbers = np.random.default_rng(0).normal(100, 1, (5, 11)).astype(np.float32)
  found = measure(numbers)
  np.testing.assert_allclose([found.mean, found.std], [
    numbers.mean(dtype=np.float64), numbers.std(dtype=np.float64)], rtol=1e-9)
  numbers[1, 2:4], numbers[4] = np.nan, -np.inf
  found = measure(numbers)
  assert (found.num_nan, found.num_infinite) == (2, 11)
  assert found.minimum == numbers[np.isfinite(numbers)].min()


def test_numbers_that_are_not_finite(tmp_path, capsys):
  broken = {name: value.copy() for name, value in _values('lenet').items()}
  broken['LeNet/conv2/weights'][0, 0, 0, :3] = np.nan
  broken['LeNet/conv1/biases'][1] = np.inf
  broken['temperature'] = np.array(np.nan, np.float32)
  _save(tmp_path / 'x', broken)
  found = inspecting.look(str(tmp_path / 'x'))
  assert {array.name for array in found.broken} == {
    'LeNet/conv1/biases', 'LeNet/conv2/weights', 'temperature'}
  assert not found.commands
  text = '\n'.join(inspecting._texts(found))
  assert 'LeNet/conv2/weights: 3 NaN, 0 infinite' in text and 'lenet' in text


def test_weights_without_the_head(tmp_path):
  values = {name: value for name, value in _values('lenet').items() if 'fc4' not in name}
  _save(tmp_path / 'x', values)
  found = inspecting.look(str(tmp_path / 'x'))
  assert (found.fit.network, found.fit.num_classes, found.fit.has_trunk) == ('lenet', None, True)
  assert [command.purpose for command in found.commands['']] == ['fine-tune']


def test_weights_that_lack_layers(tmp_path):
  values = {name: value for name, value in _values('lenet').items() if 'conv1' not in name}
  values['LeNet/more/weights'] = np.ones((3, 4), np.float32)
  _save(tmp_path / 'x', values)
  found = inspecting.look(str(tmp_path / 'x'))
  assert [row.name for row in found.fit.missing] == ['LeNet/conv1/weights', 'LeNet/conv1/biases']
  assert found.fit.unused == ('LeNet/more/weights',)
  (command,) = found.commands['']
  assert '--checkpoint_exclude_scopes=LeNet/conv1,LeNet/fc4' in command.words


def test_grey_images(tmp_path):
  _save(tmp_path / 'x', _values(KERAS, channels=1))
  found = inspecting.look(str(tmp_path / 'x'))
  assert (found.fit.network, found.fit.channels, found.fit.is_exact) == (KERAS, 1, True)
  assert all('--use_grayscale' in command.words for command in found.commands[''])


def test_twins(tmp_path):
  _npy(tmp_path / 'x')
  assert 'caffenet' in '\n'.join(inspecting._texts(inspecting.look(str(tmp_path / 'x'))))


def test_channel_order_that_is_not_in_the_file(tmp_path):
  layers = {f'conv{block}_{number}': [np.ones((3, 3, depth, width), np.float16), np.zeros(width)]
            for block, number, depth, width in (
              (1, 1, 3, 64), (1, 2, 64, 64), (2, 1, 64, 128), (2, 2, 128, 128), (3, 1, 128, 256),
              (3, 2, 256, 256), (3, 3, 256, 256), (4, 1, 256, 512))}
  with open(tmp_path / 'x', 'wb') as file:
    np.save(file, np.array(layers, dtype=object))
  found = inspecting.look(str(tmp_path / 'x'))
  assert found.fit.network == 'vgg_16' and [*found.commands] == ['rgb', 'bgr']
  for order, (command,) in found.commands.items():
    assert f'--checkpoint_channel_order={order}' in command.words
  found = inspecting.look(str(tmp_path / 'x'), channel_order='bgr')
  assert [*found.commands] == ['']
  assert '--checkpoint_channel_order=bgr' in found.commands[''][0].words


def test_metadata(tmp_path):
  _save(tmp_path / 'model.ckpt-20', _lenet())
  (tmp_path / 'model.ckpt-20.json').write_text(json.dumps({
    'format': 1, 'model_name': 'lenet', 'class_names': list('abcdefg'), 'image_size': 28,
    'channels': 1, 'preprocessing_name': 'inception', 'step': 20, 'flags': {
      'dataset_name': 'folder', 'dataset_dir': '/nowhere', 'learning_rate': 0.5},
    'dataset': {'name': 'folder', 'num_examples': 3, 'fingerprint': 'x'}}))
  found = inspecting.look(str(tmp_path))
  assert found.use.class_names == list('abcdefg')
  assert found.use.preprocessing_name == 'inception'
  assert found.commands[''][0].words == (
    'python', 'eval_image_classifier.py', f'--checkpoint_path={tmp_path}', '--dataset_dir=photos')
  text = '\n'.join(inspecting._texts(found))
  assert 'step 20' in text and '--learning_rate=0.5' in text


def test_published_file_under_another_name(tmp_path, monkeypatch):
  path = tmp_path / 'model.bin'
  _safetensors(path)
  entry = PublishedFile('squeezenet', 'https://example.org/s.safetensors', digest=(
    'sha256', published.downloads.digest_of(path)), preprocessing='vgg', image_size=160)
  monkeypatch.setattr('slim_zoo.inspection.usage.PUBLISHED_FILES', {'mine': entry})
  found = inspecting.look(str(path))
  assert found.entry[0] == 'mine'
  for command, size in zip(found.commands[''], ('eval', 'eval', 'train'), strict=True):
    assert {'--preprocessing_name=vgg', f'--{size}_image_size=160'} <= {*command.words}


def test_weights_of_no_network(tmp_path):
  _save(tmp_path / 'x', {'a/weights': np.ones((3, 3, 3, 8), np.float32)})
  found = inspecting.look(str(tmp_path / 'x'), model_name='lenet')
  assert found.fit is None and not found.commands
  assert 'none of the' in '\n'.join(inspecting._texts(found))


@pytest.mark.parametrize('width', [40, 80, 200])
def test_tables_fit_the_terminal(tmp_path, width):
  _save(tmp_path / 'x', _values(KERAS))
  found = inspecting.look(str(tmp_path / 'x'))
  text = tables.by_scope(found.arrays, width=max(width, 80))
  assert 'Conv2d_13_pointwise' in text and '1,799' in text
  assert max(map(len, text.splitlines())) <= max(width, 80)
  lines = tables.of_all(found.arrays).splitlines()
  assert len(lines) == 2 + len(found.arrays)
  assert len({len(line.rstrip()) for line in lines[2:]}) == 1


def test_commands_are_quoted(tmp_path):
  folder = tmp_path / "it's a folder"
  folder.mkdir()
  _save(folder / 'x', _values('lenet'))
  found = inspecting.look(str(folder / 'x'))
  import shlex
  for command in found.commands['']:
    assert tuple(shlex.split(command.text().replace('\\\n', ''))) == command.words


def test_damaged_file(tmp_path):
  _safetensors(tmp_path / 'x')
  path = tmp_path / 'model.bin'
  path.write_bytes((tmp_path / 'x').read_bytes()[:-9])
  with pytest.raises(ValueError, match='cut short'):
    inspecting.look(str(path))


def test_wrong_network_name(tmp_path):
  with pytest.raises(ValueError, match='lenet'):
    inspecting.look(str(tmp_path), model_name='lennet')


