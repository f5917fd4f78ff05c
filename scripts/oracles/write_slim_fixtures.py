"""Writes the results of TF-Slim's own networks, with which the tests compare ours.

`scripts/oracles/write_fixtures.sh` creates the environment and runs this; see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import fixtures, slim_nets, values

v1 = tf.compat.v1
SOURCE = 'slim/nets in tf-models-research-object-detection 2.8.0.post1, on tf-slim 1.1.0'
CLASSES = 10
AUXILIARY_WEIGHT = 0.4
# Two image sizes, one of them odd, by prefix of the network's name.
_SIZES = {
    'alexnet_v2': (224, 261), 'cifarnet': (32, 41), 'inception_v1': (96, 131),
    'inception_v2': (96, 131), 'inception_v4': (107, 204), 'inception': (107, 140),
    'lenet': (28, 33), 'mobilenet': (64, 97), 'nasnet_cifar': (32, 45), 'nasnet': (64, 97),
    'overfeat': (231, 264), 'pnasnet': (64, 97), 'resnet': (64, 97), 'vgg': (224, 257),
}
_TRAINED = (
    'alexnet_v2', 'cifarnet', 'inception_resnet_v2', 'inception_v1', 'inception_v2',
    'inception_v3', 'inception_v4', 'lenet', 'mobilenet_edgetpu_075', 'mobilenet_v1_025',
    'mobilenet_v2_035', 'mobilenet_v3_large', 'mobilenet_v3_small_minimalistic', 'nasnet_cifar',
    'nasnet_mobile', 'overfeat', 'pnasnet_mobile', 'resnet_v1_50', 'resnet_v2_50', 'vgg_a',
)
# These need global_pool=True at sizes other than their own.
_GLOBAL_POOL = ('alexnet', 'inception_v1', 'inception_v2', 'inception_v3', 'mobilenet_v1',
                'overfeat', 'vgg')
_VIDEO = ('i3d', 's3dg')
# Networks missing or wrong in TF-Slim's factory: function and name of the arg scope.
_MISSING = {'mobilenet_v2_050': ('mobilenet_v2', 'mobilenet_v2_050')}


@dataclasses.dataclass
class Built:
  """A network in its graph."""
  graph: tf.Graph
  images: tf.Tensor
  logits: tf.Tensor
  end_points: dict[str, tf.Tensor]
  variables: list[tf.Variable]


class Slim:
  """Builds and runs TF-Slim's networks."""

  def __init__(self, folder: str):
    """Imports the networks from `research/slim`."""
    self._factory = slim_nets.load(folder)
    for name, (module, function) in _MISSING.items():
      owner = getattr(self._factory, module)
      self._factory.networks_map[name] = getattr(owner, function)
      self._factory.arg_scopes_map[name] = owner.training_scope

  def names(self) -> list[str]:
    """Lists the image networks."""
    return sorted(set(self._factory.networks_map) - set(_VIDEO))

  def image_size(self, name: str) -> int:
    """Returns a network's own image size; tf-slim's OverFeat does not define it."""
    return getattr(self._factory.networks_map[name], 'default_image_size', 231)

  def build(self, name: str, *, batch: int, size: int, is_training: bool,
            weight_decay: float = 0.0) -> Built:
    """Builds a network."""
    with tf.Graph().as_default() as graph:
      v1.train.get_or_create_global_step()  # Otherwise NASNet creates it in its scope.
      function = self._factory.get_network_fn(name, CLASSES, weight_decay, is_training)
      channels = 1 if name == 'lenet' else 3
      images = v1.placeholder(tf.float32, [batch, size, size, channels])
      options = {'global_pool': True} if name.startswith(_GLOBAL_POOL) else {}
      logits, end_points = function(images, **options)
      return Built(graph, images, tf.reshape(logits, [batch, -1]), end_points,
                   [v for v in v1.global_variables() if v.op.name != 'global_step'])


def _load(session: v1.Session, variables, arrays) -> None:
  """Initializes variables with given values."""
  initializers = [variable.initializer for variable in variables]
  session.run(initializers, {op.inputs[1]: array
                             for op, array in zip(initializers, arrays, strict=True)})


def _session(built: Built, squares) -> v1.Session:
  session = v1.Session(graph=built.graph)
  _load(session, built.variables, [
      values.variable(v.op.name, v.shape.as_list(), squares) for v in built.variables])
  step, = built.graph.get_collection(v1.GraphKeys.GLOBAL_STEP)
  session.run(step.initializer)
  return session


def _batch_norms(slim: Slim, name: str, *, batch: int,
                 size: int) -> dict[str, tuple[float, float]]:
  """Measures `{scope: (mean square of the inputs, decay)}` in training."""
  built = slim.build(name, batch=batch, size=size, is_training=True)
  kinds = ('moving_mean', 'moving_variance')
  moving = {v.op.name: v for v in built.variables if v.op.name.endswith(kinds)}
  if not moving:
    return {}
  updates = built.graph.get_collection(v1.GraphKeys.UPDATE_OPS)
  after = []
  with _session(built, {}) as session:
    for start in (0, 1):
      _load(session, moving.values(),
            [np.full(v.shape.as_list(), start, np.float32) for v in moving.values()])
      session.run(updates, {built.images: _images(built)})
      after.append(session.run(moving))
  found = {}
  for scope in {key.rpartition('/')[0] for key in moving}:
    (mean, variance), (_, from_1) = [[
        state[f'{scope}/{kind}'].astype(np.float64) for kind in kinds] for state in after]
    decay = round(float(np.median(from_1 - variance)), 6)
    square = np.mean(variance / (1 - decay) + (mean / (1 - decay)) ** 2)
    found[scope] = (fixtures.rounded(square), decay)
  return found


def _images(built: Built) -> np.ndarray:
  batch, size, _, channels = built.images.shape
  return values.images(batch, size, channels)


def _inference(slim: Slim, name: str, *, size: int, squares) -> dict:
  built = slim.build(name, batch=2, size=size, is_training=False)
  with _session(built, squares) as session:
    logits = session.run(built.logits, {built.images: _images(built)})
  return {'size': size, 'logits': fixtures.rounded(logits)}


def _training(slim: Slim, name: str, *, batch: int, size: int, squares) -> dict:
  """Measures logits, and gradients of a weighted sum of them."""
  built = slim.build(name, batch=batch, size=size, is_training=True, weight_decay=1.0)
  with built.graph.as_default():
    outputs = {'logits': built.logits}
    if 'AuxLogits' in built.end_points:
      outputs['aux_logits'] = tf.reshape(built.end_points['AuxLogits'], [batch, -1])
    weights = {'logits': 1.0, 'aux_logits': AUXILIARY_WEIGHT}
    loss = tf.add_n([weights[key] * tf.reduce_sum(output * values.coefficients(key, output.shape))
                     for key, output in outputs.items()])
    trained = v1.trainable_variables()
    gradients = tf.gradients(loss, trained)
    losses = v1.losses.get_regularization_losses()
    outputs['regularization'] = tf.add_n(losses) if losses else tf.zeros([])
  with _session(built, squares) as session:
    results, gradients = session.run([outputs, gradients], {built.images: _images(built)})
  return {
      'batch': batch, 'size': size, **{key: fixtures.rounded(v) for key, v in results.items()},
      'gradients': {variable.op.name: fixtures.gradient_summary(variable.op.name, gradient)
                    for variable, gradient in zip(trained, gradients, strict=True)}}


def _initial(slim: Slim, name: str) -> dict[str, list[float]]:
  """Measures mean and standard deviation of the large variables' initial values."""
  built = slim.build(name, batch=1, size=slim.image_size(name), is_training=True)
  large = [v for v in built.variables if v.shape.num_elements() >= fixtures.LARGE]
  with v1.Session(graph=built.graph) as session:
    with built.graph.as_default():
      v1.set_random_seed(0)
      session.run(v1.global_variables_initializer())
    return {v.op.name: fixtures.rounded(np.array([value.mean(), value.std()]))
            for v, value in zip(large, session.run(large), strict=True)}


def _shapes(built: Built) -> dict[str, list[int]]:
  return {key: value.shape.as_list() for key, value in built.end_points.items()}


def measure(slim: Slim, name: str) -> dict:
  """Measures everything that is compared for a network."""
  sizes = next(sizes for prefix, sizes in _SIZES.items() if name.startswith(prefix))
  own = slim.image_size(name)
  training = slim.build(name, batch=2, size=own, is_training=True)
  inference = slim.build(name, batch=2, size=own, is_training=False)
  trainable = {v.op.name for v in training.graph.get_collection(v1.GraphKeys.TRAINABLE_VARIABLES)}
  shapes = {v.op.name: v.shape.as_list() for v in training.variables}
  batch_norms = _batch_norms(slim, name, batch=4, size=sizes[1])
  squares = {scope: square for scope, (square, _) in batch_norms.items()}
  return {
      'oracle': SOURCE, 'image_size': own, 'channels': training.images.shape[-1],
      'trainable': {key: shapes[key] for key in sorted(shapes) if key in trainable},
      'others': {key: shapes[key] for key in sorted(shapes) if key not in trainable},
      'end_points': _shapes(inference), 'training_end_points': _shapes(training),
      'batch_norms': batch_norms,
      'inference': [_inference(slim, name, size=size, squares=squares) for size in sizes],
      'training': _training(slim, name, batch=4, size=sizes[1],
                            squares=squares) if name in _TRAINED else None,
      'initial': _initial(slim, name) if name in _TRAINED else None,
  }


def main() -> None:
  """Writes one file per network."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--slim_dir', required=True, help='research/slim of tensorflow/models.')
  parser.add_argument('names', nargs='*', help='Networks; all by default.')
  arguments = parser.parse_args()
  slim = Slim(arguments.slim_dir)
  for name in arguments.names or slim.names():
    print(fixtures.write('slim', name, measure(slim, name)), flush=True)


if __name__ == '__main__':
  main()
