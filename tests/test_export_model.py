"""Exports: their outputs when loaded by TensorFlow itself, and the files next to them."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import pathlib
import re
import shutil
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from datasets import dataset_factory, labels_file
from nets import nets_factory
from preprocessing import preprocessing_factory
from slim_zoo.evaluation import classifier
from slim_zoo.export import comparison, description, exporter, targets, tflite
from slim_zoo.export.model import Model
from slim_zoo.training import checkpoints
from slim_zoo.weights import checkpoint_files

_CLASSES = ('ant', 'bee', '', 'sea horse', 'bee')
_HEAD = {'head': 'flatten,dropout:0.5,fc:6,fc', 'head_from': 'pool2'}
_NETWORKS = {'lenet': (28, 1, {}), 'cifarnet': (32, 3, _HEAD), 'mobilenet_v1_025': (64, 3, {})}


@pytest.fixture(scope='module')
def program(in_process):
  """The program in this process: `program(*arguments)` returns its exit code."""
  with in_process('export_model') as run:
    yield run


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Folders with checkpoints, and their networks: `trained(name)`."""
  made = {}

  def get(name: str):
    if name not in made:
      folder = tmp_path_factory.mktemp(name)
      made[name] = folder, _save(folder, name)
    return made[name]

  return get


def _save(folder, name):
  size, channels, head = _NETWORKS[name]
  network = nets_factory.build_network(name, image_shape=[size, size, channels],
                                       num_classes=len(_CLASSES), seed=1, **head)
  random = np.random.default_rng(0)
  for key, variable in network.variables.items():
    kind = key.rpartition('/')[2]
    if kind == 'moving_variance':
      variable.assign(random.uniform(0.02, 0.2, variable.shape))
    elif kind in ('beta', 'biases', 'moving_mean'):
      variable.assign(random.normal(0, 0.1, variable.shape))
    else:
      variable.assign_add(random.normal(0, 0.1, variable.shape).astype(np.float32))
  checkpoints.save(folder, 7, network.variables, metadata={
      'format': 1, 'model_name': name, 'class_names': list(_CLASSES), 'image_size': size,
      'channels': channels, 'labels_offset': 1, 'step': 7, 'flags': head,
      'preprocessing_name': nets_factory.get_net(name).preprocessing}, max_to_keep=1)
  return network


def _run(path, images) -> tuple[dict[str, np.ndarray], set[str]]:
  """The outputs of an export and its kinds of operators, using only TensorFlow."""
  if path.suffix == '.pb':
    definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
      tf.import_graph_def(definition, name='')
      outputs = {name: graph.get_tensor_by_name(f'{name}:0') for name in
                 ('logits', 'probabilities')}
      return session.run(outputs, {'input:0': images}), {node.op for node in definition.node}
  if path.suffix == '.tflite':
    with pytest.warns(UserWarning, match='tf.lite.Interpreter is deprecated'):
      interpreter = tf.lite.Interpreter(str(path))
    run = interpreter.get_signature_runner('serving_default')
    each = [run(images=image[np.newaxis]) for image in images]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}, set()
  function = _signatures(path)['serving_default']
  operators = {op.type for op in function.graph.get_operations()}
  return {name: value.numpy() for name, value in function(images=images).items()}, operators


@functools.cache
def _signatures(path):
  return tf.saved_model.load(str(path)).signatures


def _export(program, trained, name, export, folder) -> pathlib.Path:
  path = folder / export
  assert program(f'--checkpoint_path={trained(name)[0]}', f'--output_path={path}') == 0
  return path


def _description(path) -> dict:
  return json.loads((path / 'model.json' if path.is_dir() else
                     path.with_name(f'{path.name}.json')).read_text())


def _check(path, network):
  """Compares an export with the network; returns the kinds of its operators."""
  shape = [len(_CLASSES), *_description(path)['inputs'][
      'input:0' if path.suffix == '.pb' else 'images']['shape'][1:]]
  images = np.random.default_rng(3).normal(size=shape).astype(np.float32)
  expected = network(tf.constant(images), is_training=False)[0].numpy()
  found, operators = _run(path, images)
  top = {'top_classes', 'top_probabilities'} if path.is_dir() else set()
  assert found.keys() == {'logits', 'probabilities', *top}
  assert np.abs(found['logits'] - expected).max() <= 1e-4 * np.abs(expected).max()
  np.testing.assert_allclose(found['probabilities'], tf.nn.softmax(expected), atol=1e-3)
  assert np.ptp(expected, axis=0).max() > 0.1 * np.abs(expected).max()  # Images differ.
  assert not any('Random' in operator for operator in operators)
  return operators


def _check_files(path, network):
  """Compares an export's outputs for image files with those of an evaluation."""
  y, x = np.mgrid[:90, :120]
  photo = np.stack([2 * y, x, 255 - x], axis=-1).astype(np.uint8)
  files = [tf.io.encode_jpeg(photo).numpy(), tf.io.encode_png(photo[:50, :40]).numpy(),
           tf.io.encode_jpeg(photo[..., 1:2], 'grayscale').numpy()]
  preprocess = preprocessing_factory.get_preprocessing('inception')
  images = tf.stack([preprocess(tf.constant(file), 64, 64) for file in files])
  expected = network(images, is_training=False)[0]
  found = _signatures(path)['serving_bytes'](image_bytes=tf.constant(files))
  np.testing.assert_allclose(found['logits'], expected, rtol=0,
                             atol=1e-4 * np.abs(expected).max())
  assert _description(path)['inputs']['image_bytes']['signature'] == 'serving_bytes'


@pytest.mark.parametrize('name, export', [
  ('mobilenet_v1_025', 'model'), ('mobilenet_v1_025', 'model.pb'), ('cifarnet', 'model.pb'),
  ('cifarnet', 'model.tflite')])
def test_exports_equal_the_network(program, trained, tmp_path, name, export, capsys):
  path = _export(program, trained, name, export, tmp_path)
  out = capsys.readouterr().out
  assert f'Wrote {path} (' in out and "difference from the network's logits" in out
  network = trained(name)[1]
  operators = _check(path, network)
  if export == 'model':
    _check_files(path, network)
  if export == 'model.pb':  # No operators that are unused or only for training.
    assert operators <= {'Placeholder', 'Const', 'Conv2D', 'DepthwiseConv2dNative', 'MatMul',
                         'BiasAdd', 'Relu', 'Relu6', 'MaxPool', 'AvgPool', 'Reshape',
                         'FusedBatchNormV3', 'EnsureShape', 'StridedSlice', 'Squeeze', 'Mean',
                         'Softmax', 'Identity', 'Shape', 'Square', 'AddV2', 'Mul', 'Rsqrt',
                         'Sqrt'}
  description = _description(path)
  size, channels, head = _NETWORKS[name]
  assert {key: description[key] for key in ('model_name', 'class_names', 'image_size', 'channels',
                                            'labels_offset', 'step')} == {
    'model_name': name, 'class_names': list(_CLASSES), 'image_size': size, 'channels': channels,
    'labels_offset': 1, 'step': 7}
  assert description.get('flags', {}) == head
  assert description['checkpoint'] == str(trained(name)[0] / 'model.ckpt-7')
  assert description['checkpoint_digest'] == classifier.digest_of(network.variables)
  beside = [f'{export}.json', f'{export}.labels.txt'] if path.suffix else []
  assert sorted(file.name for file in tmp_path.iterdir()) == [export, *beside]
  assert labels_file.read(tmp_path / (beside[1] if beside else 'model/labels.txt')).names == (
    'ant', 'bee (1)', 'class 2', 'sea horse', 'bee (4)')


@pytest.mark.slow
def test_saved_model_takes_pixels_and_names_the_classes(program, trained, tmp_path):
  path = _export(program, trained, 'mobilenet_v1_025', 'model', tmp_path)
  pixels = np.random.default_rng(0).integers(0, 256, [2, 90, 70, 3], np.uint8)
  files = [tf.io.encode_png(image).numpy() for image in pixels]
  signatures = _signatures(path)
  found = signatures['serving_uint8'](pixels=tf.constant(pixels))
  expected = signatures['serving_bytes'](image_bytes=tf.constant(files))
  np.testing.assert_array_equal(found['logits'], expected['logits'])
  order = np.argsort(-found['probabilities'].numpy(), axis=-1)
  names = np.array([b'ant', b'bee (1)', b'class 2', b'sea horse', b'bee (4)'])
  np.testing.assert_array_equal(found['top_classes'], names[order])
  np.testing.assert_array_equal(found['top_probabilities'], np.take_along_axis(
    found['probabilities'].numpy(), order, axis=-1))
  assert _description(path)['inputs']['pixels']['signature'] == 'serving_uint8'


def test_saved_model_answers_a_request_of_tensorflow_serving(program, trained, tmp_path):
  """Its row format: named inputs per instance, Base64 for `…_bytes`, and outputs per instance.

  See https://www.tensorflow.org/tfx/serving/api_rest.
  """
  path = _export(program, trained, 'mobilenet_v1_025', 'model', tmp_path)
  images = np.random.default_rng(1).integers(0, 256, [2, 40, 30, 3], np.uint8)
  files = [tf.io.encode_jpeg(image).numpy() for image in images]
  body = json.dumps({'signature_name': 'serving_bytes', 'instances': [
    {'image_bytes': {'b64': base64.b64encode(file).decode()}} for file in files]})
  request = json.loads(body)
  function = _signatures(path)[request['signature_name']]
  assert {*function.structured_input_signature[1]} == {'image_bytes'}
  values = [base64.b64decode(instance['image_bytes']['b64']) for instance in request['instances']]
  found = {name: output.numpy() for name, output in function(image_bytes=values).items()}
  # Only outputs with one row for each instance can be in the answer.
  assert {len(rows) for rows in found.values()} == {len(files)}
  answer = json.dumps({'predictions': [
    {name: np.char.decode(rows[place].astype(bytes)).tolist() if rows.dtype == object
     else rows[place].tolist() for name, rows in found.items()} for place in range(len(files))]})
  best = [row['top_classes'][0] for row in json.loads(answer)['predictions']]
  assert {*best} <= {'ant', 'bee (1)', 'class 2', 'sea horse', 'bee (4)'}


def _digits_network(tmp_path) -> pathlib.Path:
  """Trains a network on digits in a few steps; returns the folder of its checkpoint."""
  network = nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=10, seed=1)
  data = dataset_factory.get_dataset('digits', 'train', None)
  preprocess = nets_factory.get_net('lenet').preprocessing
  transform = preprocessing_factory.get_recipe(preprocess).transform
  batches = data.epoch(0).take(1500).map(
    lambda one: (transform(one['image'], 28, 28, channels=1), one['label'])).batch(50)
  optimizer = tf.keras.optimizers.Adam(0.002)
  variables = [network.variables[name] for name in network.trainable]
  for images, labels in batches:
    with tf.GradientTape() as tape:
      logits, _ = network(images, is_training=False)
      loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels, logits))
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
  checkpoints.save(tmp_path / 'run', 7, network.variables, metadata={
    'format': 1, 'model_name': 'lenet', 'class_names': list(data.class_names), 'image_size': 28,
    'channels': 1, 'step': 7, 'flags': {}, 'preprocessing_name': preprocess}, max_to_keep=1)
  return tmp_path / 'run'


@pytest.mark.slow
def test_exports_are_compared_on_images(program, tmp_path, capsys):
  """Accuracies are those of TensorFlow's interpreter and of ONNX Runtime on the same images."""
  onnxruntime = pytest.importorskip('onnxruntime', reason='needs the extra onnx')
  kinds = ['tflite', 'float16.tflite', 'dynamic.tflite', 'int8.tflite', 'onnx', 'pb']
  paths = [tmp_path / f'model.{kind}' for kind in kinds]
  assert program(f'--checkpoint_path={_digits_network(tmp_path)}', '--dataset_name=digits',
                 f'--output_path={",".join(map(str, paths))}', '--num_images=50') == 0
  out = capsys.readouterr().out
  found = {kind: _description(path)['compared'] for kind, path in zip(kinds, paths, strict=True)}
  assert all(one['num_photos'] == 50 and one['agreement'] >= 0.96 for one in found.values())
  assert found['tflite']['accuracy'] > 0.5  # Not by chance.
  sizes = [path.stat().st_size for path in paths]
  assert sizes[0] > 1.8 * sizes[1] > 1.8 * 1.5 * sizes[3]
  for path, kind in zip(paths, kinds, strict=True):
    assert f'\n{path.name} ' in out and f'{found[kind]["accuracy"]:.4f}' in out

  data = dataset_factory.get_dataset('digits', found['tflite']['split'], None)
  places = np.unique(np.linspace(0, data.num_examples - 1, 50).round().astype(int))
  batch = next(iter(data.epoch(0).batch(data.num_examples)))
  transform = preprocessing_factory.get_recipe('lenet').transform
  images = np.stack([transform(batch['image'][place], 28, 28, channels=1) for place in places])
  labels = batch['label'].numpy()[places]

  int8 = _description(paths[3])
  with pytest.warns(UserWarning, match='tf.lite.Interpreter is deprecated'):
    run = tf.lite.Interpreter(str(paths[3])).get_signature_runner('serving_default')
  source = int8['inputs']['images']
  assert (source['dtype'], int8['outputs']['logits']['dtype']) == ('int8', 'int8')
  integers = np.clip(np.round(images / source['scale']) + source['zero_point'], -128, 127)
  best = [run(images=image[np.newaxis].astype(np.int8))['logits'].argmax() for image in integers]
  assert np.mean(best == labels) == pytest.approx(found['int8.tflite']['accuracy'])

  session = onnxruntime.InferenceSession(str(paths[4]), providers=['CPUExecutionProvider'])
  logits, probabilities = session.run(['logits', 'probabilities'], {'images': images})
  assert np.mean(logits.argmax(-1) == labels) == pytest.approx(found['onnx']['accuracy'])
  np.testing.assert_allclose(probabilities, tf.nn.softmax(logits), atol=1e-6)


@pytest.mark.parametrize(('after', 'is_kept'), [(0.88, True), (0.875, False), (0.95, True)])
def test_loss_of_as_much_as_is_allowed(after, is_kept):
  photos = mock.MagicMock()
  photos.accuracy.return_value, photos.__len__.return_value = 0.9, 200
  found = comparison.Found(0, 1, 1, accuracy=after)
  assert 0.9 - 0.88 > 0.02  # In floating point.
  assert (exporter._loss(found, photos, 0.02) == '') == is_kept


@pytest.mark.slow
def test_calibration_takes_no_image_that_exports_are_compared_on(program, tmp_path, monkeypatch):
  seen = []
  monkeypatch.setitem(targets.TARGETS, '.int8.tflite', dataclasses.replace(
    targets.TARGETS['.pb'],
    write=lambda model, path: (seen.extend(np.concatenate([*model.calibration()])),
                               targets.TARGETS['.pb'].write(model, path))))
  arguments = [f'--checkpoint_path={_digits_network(tmp_path)}', '--dataset_name=digits',
               '--dataset_split_name=train', f'--output_path={tmp_path}/model.int8.tflite']
  with pytest.raises(ValueError, match='--num_images'):
    program(*arguments, '--num_images=100000')
  assert program(*arguments, '--num_images=50', '--num_calibration_images=100000') == 0
  num_train = dataset_factory.get_dataset('digits', 'train', None).num_examples
  assert len(seen) == num_train - 50


@pytest.mark.slow
def test_export_that_loses_accuracy_is_not_kept(program, tmp_path, monkeypatch, capsys):
  """The others of the same call are kept, and the table has all of them."""
  run = _digits_network(tmp_path)
  monkeypatch.setitem(targets.TARGETS, '.dynamic.tflite', targets.Target(
    'dull model', lambda model, path: path.write_text(''),
    lambda path: {'images': lambda images: np.eye(10, dtype=np.float32)[np.zeros(
      len(images), int)]}, 'images', tolerance=None))
  arguments = [f'--checkpoint_path={run}', '--dataset_name=digits', '--num_images=40']
  with pytest.raises(ValueError, match=r'dull\.dynamic.*--max_accuracy_drop=0\.02'):
    program(*arguments, f'--output_path={tmp_path}/dull.dynamic.tflite,{tmp_path}/good.pb')
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'good.pb', 'good.pb.json', 'good.pb.labels.txt', 'run']
  assert 'dull.dynamic.tflite' in capsys.readouterr().out
  assert program(*arguments, '--max_accuracy_drop=1',
                 f'--output_path={tmp_path}/dull.dynamic.tflite') == 0
  assert (tmp_path / 'dull.dynamic.tflite').exists()


@pytest.mark.parametrize('name, source', [
  ('mobilenet_v1_025', 'model.tflite'), ('cifarnet', 'model.pb'), ('cifarnet', 'model.tflite')])
def test_exports_can_be_used_as_weights_without_flags(program, trained, tmp_path, name, source):
  network = trained(name)[1]
  path = _export(program, trained, name, source, tmp_path)
  _check(path, network)
  again = tmp_path / 'again' / 'model.pb'
  assert program(f'--checkpoint_path={path}', f'--output_path={again}') == 0
  _check(again, network)
  facts = _description(again)
  assert (facts['checkpoint'], facts['class_names']) == (str(path), list(_CLASSES))
  if source == 'model.pb':  # Every bit.
    assert facts['checkpoint_digest'] == classifier.digest_of(network.variables)


def test_weights_without_metadata(program, trained, tmp_path):
  folder, network = trained('lenet')
  for file in folder.glob('*ckpt-7.[di]*'):
    shutil.copy(file, tmp_path)
  (tmp_path / 'names.txt').write_text(''.join(f'{i}:name {i}\n' for i in range(5)))
  path = tmp_path / 'lenet_1.0'  # No suffix, but a folder.
  assert program(f'--checkpoint_path={tmp_path}', '--model_name=lenet', f'--output_path={path}',
                 f'--labels_path={tmp_path}/names.txt') == 0
  assert _description(path)['class_names'] == [f'name {i}' for i in range(5)]
  # The variables in a SavedModel are weights as well, but of an unstated network.
  assert program(f'--checkpoint_path={path}/variables/variables', '--model_name=lenet',
                 f'--output_path={tmp_path}/again.pb') == 0
  found = _description(tmp_path / 'again.pb')
  assert found['checkpoint_digest'] == classifier.digest_of(network.variables)
  assert found['num_classes'] == len(_CLASSES) and 'class_names' not in found


@pytest.mark.parametrize('export, there', [
  ('model', 'model/note.txt'), ('model', 'model'), ('model.pb', 'model.pb'),
  ('model.tflite', 'model.tflite.json'), ('model.pb', 'model.pb.labels.txt')])
def test_existing_files_are_kept(program, trained, tmp_path, export, there):
  (tmp_path / there).parent.mkdir(exist_ok=True)
  (tmp_path / there).write_text('mine')
  with pytest.raises(ValueError, match=f'/{there.removesuffix("/note.txt")}\\b.*--output_path'):
    _export(program, trained, 'lenet', export, tmp_path)
  assert [file for file in tmp_path.rglob('*') if file.is_file()] == [tmp_path / there]
  assert (tmp_path / there).read_text() == 'mine'


@pytest.mark.parametrize('export', ['model.pb', 'model.pb.json'])
def test_empty_folder_blocks_a_file_export(tmp_path, export):
  (tmp_path / export).mkdir()
  with pytest.raises(ValueError, match=f'/{export}\\b.*--output_path'):
    exporter.check_free(tmp_path / 'model.pb')


def test_link_to_an_empty_folder_is_not_replaced(tmp_path):
  (tmp_path / 'empty').mkdir()
  exporter.check_free(tmp_path / 'empty')
  (tmp_path / 'link').symlink_to('empty')
  with pytest.raises(ValueError, match=r'/link\b'):
    exporter.check_free(tmp_path / 'link')


def test_class_names_need_not_be_utf8(tmp_path):
  path, names = tmp_path / 'model.pb', ['caf\udce9', 'two\nlines']
  transform = preprocessing_factory.get_recipe('lenet').transform
  description.write(path, Model(None, 4, 3, 'lenet', transform, class_names=names),
                    targets.find(path), facts={}, found=comparison.Found(0, 1, 1))
  assert checkpoint_files.read_metadata(str(path), of_export=True)['class_names'] == names
  assert labels_file.read(f'{path}.labels.txt').names == ('caf\udce9', 'two lines')


@pytest.mark.parametrize('path', ['.', '..', '/'])
def test_path_without_a_name_is_rejected(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=rf'\.pb .*\.tflite.*Received: {re.escape(path)}\.$'):
    exporter.check_free(path)


def test_op_missing_in_tensorflow_lite_is_explained(tmp_path):
  def network(images, *, is_training, variables):
    means = tf.reduce_mean(images, [1, 2])
    return tf.math.igamma(tf.ones_like(means), tf.square(means)), {}

  network.variables = {}
  transform = preprocessing_factory.get_recipe('lenet').transform
  with pytest.raises(ValueError, match="'tf.Igamma'") as caught:
    tflite.write(Model(network, 4, 3, 'lenet', transform), tmp_path / 'model.tflite')
  assert '\n' not in str(caught.value)
  assert not [*tmp_path.iterdir()]


def test_export_is_complete_or_absent(program, trained, tmp_path, monkeypatch):
  (tmp_path / 'model.pb.part' / 'of_a_killed_run').mkdir(parents=True)
  monkeypatch.setitem(targets.TARGETS, '.pb', dataclasses.replace(
    targets.TARGETS['.pb'], tolerance=-1.0))
  with pytest.raises(ValueError, match=r'frozen graph.*Received: .*\de-\d\d|0\.0e\+00'):
    _export(program, trained, 'lenet', 'model.pb', tmp_path)
  assert not [*tmp_path.iterdir()]


def test_description_is_removed_if_the_export_fails(program, trained, tmp_path, monkeypatch):
  replace = exporter.os.replace

  def full(source, place):
    if str(place).endswith('.pb'):
      raise OSError('No space left')
    replace(source, place)

  monkeypatch.setattr(exporter.os, 'replace', full)
  with pytest.raises(OSError, match='No space left'):
    _export(program, trained, 'lenet', 'model.pb', tmp_path)
  assert not [*tmp_path.iterdir()]


def test_export_with_wrong_outputs_is_detected(program, trained, tmp_path, monkeypatch):
  def other(path):
    del path
    return {'images': lambda images: np.full([len(images), len(_CLASSES)], np.nan, np.float32)}

  target = targets.Target('frozen graph', lambda model, path: path.write_text(''), other, 'input')
  monkeypatch.setitem(targets.TARGETS, '.pb', target)
  with pytest.raises(ValueError, match='frozen graph.*Received: .*nan'):
    _export(program, trained, 'lenet', 'model.pb', tmp_path)
  assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('arguments, message', [
  ([], '--output_path'),
  (['--output_path={tmp}/model.h5'], r'\.pb .*\.tflite .*model.h5'),
  (['--output_path=gs://bucket/model'], 'gs://bucket/model'),
  (['--output_path={tmp}/model', '--checkpoint_path='], '--checkpoint_path'),
  (['--output_path={tmp}/model.pb,{tmp}/./model.pb'], '--output_path'),
  (['--output_path={tmp}/model.int8.tflite'], '--dataset_dir'),
  (['--output_path={tmp}/model.pb', '--max_accuracy_drop=0'], '--max_accuracy_drop'),
  (['--output_path={tmp}/model.pb', '--dataset_split_name=test'], '--dataset_split_name'),
  (['--output_path={tmp}/model.pb', '--dataset_name=digits', '--dataset_split_name=none'],
   'none'),
  (['--output_path={tmp}/model.pb', '--dataset_name=digits', '--labels_offset=2'], 'class'),
  (['--output_path={tmp}/model', '--checkpoint_path={tmp}/bare', '--model_name=lenet'],
   'bare'),
])
def test_mistakes_are_explained(program, trained, tmp_path, arguments, message):
  folder, network = trained('lenet')
  (tmp_path / 'bare').mkdir()
  values = {name: variable for name, variable in network.variables.items() if 'fc4' not in name}
  tf.raw_ops.SaveV2(prefix=f'{tmp_path}/bare/model.ckpt-1', tensor_names=[*values],
                    shape_and_slices=[''] * len(values), tensors=[*values.values()])
  with pytest.raises((ValueError, flags.IllegalFlagValueError), match=message):
    program(f'--checkpoint_path={folder}', *[a.format(tmp=tmp_path) for a in arguments])
  assert [file.name for file in tmp_path.iterdir()] == ['bare']


@pytest.mark.slow
def test_as_a_program(run_script, trained, tmp_path):
  path = tmp_path / 'model.tflite'
  code, out, errors = run_script('export_model', f'--checkpoint_path={trained("lenet")[0]}',
                                 f'--output_path={path}')
  assert code == 0, errors
  assert errors.splitlines() in ([], ['INFO: Created TensorFlow Lite XNNPACK delegate for CPU.'])
  assert out.splitlines()[2].startswith(f'Wrote {path} ')
  _check(path, trained('lenet')[1])
