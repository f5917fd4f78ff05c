"""Networks frozen by TensorFlow or its converter and loaded here."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, outline
from slim_zoo.weights import restore, sources
from slim_zoo.weights.dialects import frozen

v1 = tf.compat.v1
CLASSES = 11
SLOW = {'inception_v1': 64, 'mobilenet_v3_small': 64}
THOROUGH = {
  'alexnet': 227, 'alexnet_v2': 224, 'efficientnet_lite0': 64, 'inception_resnet_v2': 140,
  'inception_v2': 64, 'inception_v3': 80, 'mobilenet_edgetpu_075': 64, 'mobilenet_v2_035': 64,
  'nasnet_cifar': 32, 'nasnet_mobile': 64, 'pnasnet_mobile': 64, 'resnet50_keras': 33,
  'resnet_v1_18': 64, 'resnet_v1_50': 64, 'resnet_v2_50': 32, 'squeezenet_1_1': 64}
SIZES = {'mobilenet_v1_025': 64, **SLOW, **THOROUGH}


def _marked(name):
  kinds = [kind for kind, nets in (('slow', SLOW), ('thorough', THOROUGH)) if name in nets]
  return pytest.param(name, marks=[getattr(pytest.mark, kind) for kind in kinds])


@dataclasses.dataclass
class _Model:
  """A network in a graph of TensorFlow 1, with random values."""
  session: v1.Session
  images: tf.Tensor
  output: tf.Tensor
  values: dict[str, np.ndarray]

  def logits(self, values):
    """Returns the logits for an image, with other values."""
    _load(self.session, values)
    image = np.random.default_rng(1).normal(size=self.images.shape).astype(np.float32)
    return self.session.run(self.output, {self.images: image})

  def frozen(self):
    """Returns the graph with constants in the variables' places."""
    return v1.graph_util.convert_variables_to_constants(
      self.session, self.session.graph.as_graph_def(), [self.output.op.name])

  def converter(self):
    """Returns the converter to TensorFlow Lite."""
    with self.session.graph.as_default():
      return v1.lite.TFLiteConverter.from_session(self.session, [self.images], [self.output])


def _load(session, values):
  with session.graph.as_default():
    variables = v1.global_variables()
  session.run([variable.initializer for variable in variables],
              {variable.initializer.inputs[1]: values[variable.op.name] for variable in variables})


@contextlib.contextmanager
def _model(name):
  size, rng = SIZES[name], np.random.default_rng(0)
  with tf.Graph().as_default(), v1.Session() as session:
    images = v1.placeholder(tf.float32, [1, size, size, 3], 'input')
    output, _ = nets_factory.get_network_fn(name, CLASSES)(images)
    session.run(v1.global_variables_initializer())
    values = session.run({variable.op.name: variable for variable in v1.global_variables()})
    for name, value in values.items():
      kind = name.rpartition('/')[2]
      if kind in ('gamma', 'moving_variance'):
        values[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
      elif kind in ('beta', 'biases', 'moving_mean'):
        values[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
    _load(session, values)
    yield _Model(session, images, output, values)


def _loaded(name, path):
  """Loads a file like the programs; returns the values, the report and the known facts."""
  traced = outline.trace(name, CLASSES, image_shape=[SIZES[name], SIZES[name], 3])
  ours = {**traced.trainable, **traced.others}
  weights = sources.open_weights(str(path))
  report = restore.plan(weights.source, ours, weights.takes(name, ours))
  restore.check(report)
  return {row.name: restore.value(row, weights.source) for row in report.rows}, report, \
    weights.facts(name, ours)


def _folded(graph, output):
  """Folds batch norm like TensorFlow's tools: into the kernel and the biases."""
  nodes = {node.name: node for node in graph.node}

  def constant(name):
    while nodes[name].op == 'Identity':
      name = nodes[name].input[0]
    return nodes[name]

  for node in list(graph.node):
    convolution = nodes.get(node.input[0]) if node.op == 'FusedBatchNormV3' else None
    if convolution is None or convolution.op not in ('Conv2D', 'DepthwiseConv2dNative'):
      continue
    gamma, beta, mean, variance = (tf.make_ndarray(constant(name).attr['value'].tensor)
                                   if constant(name).op == 'Const' else 1.0
                                   for name in node.input[1:5])
    factor = gamma / np.sqrt(variance + node.attr['epsilon'].f)
    kernel = constant(convolution.input[1]).attr['value'].tensor
    values = tf.make_ndarray(kernel)
    factors = factor[:, np.newaxis] if convolution.op != 'Conv2D' else factor
    kernel.CopyFrom(tf.make_tensor_proto(values * factors))
    offset = graph.node.add(name=f'{convolution.name}_bn_offset', op='Const')
    offset.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(beta - mean * factor))
    offset.attr['dtype'].type = tf.float32.as_datatype_enum
    node.op = 'BiasAdd'
    node.input[:] = [convolution.name, offset.name]
    node.attr.clear()
    node.attr['T'].type = tf.float32.as_datatype_enum
  return v1.graph_util.extract_sub_graph(graph, [output])


def _nameless(graph):
  """Renames all constants, as for unnamed variables."""
  names = {node.name: f'constant_{i}' for i, node in enumerate(graph.node) if node.op == 'Const'}
  for node in graph.node:
    node.name = names.get(node.name, node.name)
    node.input[:] = [names.get(name, name) for name in node.input]
  return graph


def _prefixed(graph):
  with tf.Graph().as_default() as outer:
    tf.import_graph_def(graph, name='import')
  return outer.as_graph_def()


def _check(model, name, path, *, tolerance=1e-4):
  values, report, facts = _loaded(name, path)
  before, after = model.logits(model.values), model.logits(values)
  assert np.abs(after - before).max() < tolerance * before.std()
  return report, facts


@pytest.mark.parametrize('name', [_marked(name) for name in SIZES])
def test_networks_round_trip(name, tmp_path):
  with _model(name) as model:
    graph = model.frozen()
    (tmp_path / 'graph.pb').write_bytes(graph.SerializeToString())
    _, facts = _check(model, name, tmp_path / 'graph.pb', tolerance=1e-6)
    assert facts == {'image_size': SIZES[name]}
    values = _loaded(name, tmp_path / 'graph.pb')[0]
    for key, value in model.values.items():  # Every bit, not only the outputs.
      np.testing.assert_array_equal(values[key], value, key)
    folded = _folded(model.frozen(), model.output.op.name)
    (tmp_path / 'folded.pb').write_bytes(folded.SerializeToString())
    (tmp_path / 'model.tflite').write_bytes(model.converter().convert())
    before, after = (sum(node.op == 'FusedBatchNormV3' for node in nodes.node)
                     for nodes in (graph, folded))
    for file, is_folded in (('folded.pb', after < before), ('model.tflite', before > 0)):
      report, facts = _check(model, name, tmp_path / file)
      assert facts['image_size'] == SIZES[name]
      assert ('folded' in facts.get('note', '')) == is_folded
      assert len(report.names(restore.RESTORED)) == len(model.values)


def test_graphs_with_other_names_of_constants(tmp_path):
  name = 'mobilenet_v1_025'
  with _model(name) as model:
    def nameless_and_folded(graph):
      return _nameless(_folded(graph, model.output.op.name))

    for i, change in enumerate((_nameless, _prefixed, nameless_and_folded)):
      path = tmp_path / f'{i}.pb'
      path.write_bytes(change(model.frozen()).SerializeToString())
      _check(model, name, path)


def test_half_precision(tmp_path):
  name = 'mobilenet_v1_025'
  with _model(name) as model:
    converter = model.converter()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (tmp_path / 'model.tflite').write_bytes(converter.convert())
    report, _ = _check(model, name, tmp_path / 'model.tflite', tolerance=0.02)
    assert report.summary().startswith('137 restored')


_QUANTIZED = ('dynamic range', 'per channel', 'per tensor', '16-bit activations')


def _quantized(model, kind):
  """Converts a model to integers."""
  def images():
    for seed in range(8):
      yield [np.random.default_rng(seed).normal(size=model.images.shape).astype(np.float32)]

  converter = model.converter()
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if kind != 'dynamic range':
    converter.representative_dataset = images
  converter._experimental_disable_per_channel = kind == 'per tensor'
  if kind == '16-bit activations':
    converter.target_spec.supported_ops = [
      tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
  return converter.convert()


def _interpreted(model, content):
  """Returns the logits that TensorFlow Lite computes for the image of `_Model.logits`."""
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', message=r'\s*Warning: tf.lite.Interpreter is deprecated')
    interpreter = tf.lite.Interpreter(model_content=content)
  interpreter.allocate_tensors()
  image = np.random.default_rng(1).normal(size=model.images.shape).astype(np.float32)
  interpreter.set_tensor(interpreter.get_input_details()[0]['index'], image)
  interpreter.invoke()
  return interpreter.get_tensor(interpreter.get_output_details()[0]['index'])


@pytest.mark.parametrize('kind', _QUANTIZED)
@pytest.mark.parametrize('name', [
  'mobilenet_v1_025', *(pytest.param(name, marks=pytest.mark.thorough) for name in (
    'efficientnet_lite0', 'inception_v3', 'resnet_v1_18', 'resnet_v2_50'))])
def test_quantized_models(tmp_path, name, kind):
  with _model(name) as model:
    content = _quantized(model, kind)
    (tmp_path / 'model.tflite').write_bytes(content)
    values, report, facts = _loaded(name, tmp_path / 'model.tflite')
    assert len(report.names(restore.RESTORED)) == len(model.values)
    assert 'quantized to int8' in facts['note'] and 'folded' in facts['note']
    ours, floats, theirs = (model.logits(values), model.logits(model.values),
                            _interpreted(model, content))
  print(f'\n{name}, {kind}: differences in standard deviations of the logits: ours and floats '
        f'{_difference(ours, floats):.4f}, interpreter and floats '
        f'{_difference(theirs, floats):.4f}, ours and interpreter {_difference(ours, theirs):.4f}')
  # The interpreter also rounds what is between the layers; to 16 bits, that makes no difference.
  bound = 1.5 * _difference(theirs, floats) + 0.02
  assert _difference(ours, floats) < bound
  assert _difference(ours, theirs) < (0.02 if kind == '16-bit activations' else bound)


def _difference(logits, others):
  return np.abs(logits - others).max() / others.std()


_OF_EACH_EPSILON = ('inception_v3', 'nasnet_cifar', 'resnet50_keras', 'resnet_v1_18')


@pytest.mark.parametrize('name', [
  name if name in _OF_EACH_EPSILON else pytest.param(name, marks=pytest.mark.thorough)
  for name in nets_factory.NETS])
def test_epsilons_equal_those_of_the_networks(name):
  net = nets_factory.get_net(name)
  traced = outline.trace(name, CLASSES, image_shape=[net.image_size] * 2 + [net.channels])
  found = [operator for operator in traced.graph.get_operations()
           if operator.type == 'FusedBatchNormV3']
  np.testing.assert_allclose([operator.get_attr('epsilon') for operator in found],
                             frozen.epsilon(name), rtol=1e-6)


# Graphs of one layer, as written by older programs.

_OURS = {'net/conv1/weights': (3, 3, 2, 4), 'net/conv1/BatchNorm/gamma': (4,),
         'net/conv1/BatchNorm/beta': (4,), 'net/conv1/BatchNorm/moving_mean': (4,),
         'net/conv1/BatchNorm/moving_variance': (4,)}
_EPSILON = 1e-3


def _values():
  rng = np.random.default_rng(0)
  values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in _OURS.items()}
  values['net/conv1/BatchNorm/moving_variance'] += 5
  return values


def _graph(build):
  with tf.Graph().as_default() as graph:
    build(v1.placeholder(tf.float32, [1, 5, 5, 2]), {name: tf.constant(value, name=name)
                                                     for name, value in _values().items()})
  return graph.as_graph_def()


def _of(values):
  return [values[f'net/conv1/BatchNorm/{kind}']
          for kind in ('moving_mean', 'moving_variance', 'beta', 'gamma')]


def _arithmetic(images, values):
  """Batch norm before it was one operator."""
  with tf.name_scope('net/conv1/'):
    tf.nn.batch_normalization(tf.nn.conv2d(images, values['net/conv1/weights'], 1, 'SAME'),
                              *_of(values), _EPSILON)


def _multiplied(images, values):
  """Batch norm as one multiplication and one addition of constants."""
  del values
  kernel, (mean, variance, beta, gamma) = _values()['net/conv1/weights'], _of(_values())
  factor = gamma / np.sqrt(variance + _EPSILON)
  with tf.name_scope('net/net/conv1/'):
    net = tf.nn.conv2d(images, kernel, 1, 'SAME') * factor.reshape(1, 1, 1, 4)
    tf.nn.relu(tf.raw_ops.Add(x=beta - mean * factor, y=net))


def _with_another_epsilon(images, values):
  with tf.name_scope('net/conv1/'):
    mean, variance, beta, gamma = _of(values)
    v1.nn.fused_batch_norm(tf.nn.conv2d(images, values['net/conv1/weights'], 1, 'SAME'), gamma,
                           beta, mean, variance, epsilon=0.01, is_training=False)


def _twice(images, values):
  """Two indistinguishable layers in one scope."""
  for _ in range(2):
    _multiplied(images, values)


def _elsewhere(images, values):
  """Names in which the parts of our scope are not in order."""
  with tf.name_scope('net/block/conv1/'):
    tf.nn.bias_add(tf.nn.conv2d(images, _values()['net/conv1/weights'], 1, 'SAME'), np.ones(4, 'f'))
  del values


def _report(tmp_path, build, without=()):
  graph = _graph(build)
  kept = [node for node in graph.node if node.name not in without]
  del graph.node[:]
  graph.node.extend(kept)
  (tmp_path / 'x.pb').write_bytes(graph.SerializeToString())
  weights = sources.open_weights(str(tmp_path / 'x.pb'))
  report = restore.plan(weights.source, _OURS, weights.takes('mobilenet_v1', _OURS))
  return report, {row.name: restore.value(row, weights.source) for row in report.rows
                  if row.status == restore.RESTORED}


def test_batch_norm_of_many_operators(tmp_path):
  _, values = _report(tmp_path, _arithmetic)
  assert values.keys() == _OURS.keys()
  for name, value in _values().items():
    np.testing.assert_array_equal(values[name], value)


@pytest.mark.parametrize('build, epsilon', [(_multiplied, _EPSILON), (_with_another_epsilon, 0.01)])
def test_batch_norm_is_equivalent(tmp_path, build, epsilon):
  _, values = _report(tmp_path, build, without=_OURS if build is _multiplied else ())
  assert values.keys() == _OURS.keys()
  inputs = np.random.default_rng(1).normal(size=(7, 4))
  results = [np.float64(gamma) * (inputs - mean) / np.sqrt(variance + added) + beta
             for (mean, variance, beta, gamma), added in ((_of(values), _EPSILON),
                                                         (_of(_values()), epsilon))]
  np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('build', [_twice, _elsewhere])
def test_ambiguous_layers_are_reported_as_missing(tmp_path, build):
  report, _ = _report(tmp_path, build, without=_OURS)
  assert report.names(restore.MISSING) == list(_OURS)
