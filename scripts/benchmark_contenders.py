"""The contenders of `benchmark.py`, each a process that runs steps on request.

    python benchmark_contenders.py ours '{"network": "mobilenet_v1", "mode": "training", …}'

When ready, the process prints one line of JSON. Each line of standard input is then a number of
steps to run, answered by a line with the seconds they took. The process exits at end of input. Only
the contender's own framework is imported, so the file also runs where TensorFlow is not installed.

All run the same network on the same fixed images of one batch, in training with softmax
cross-entropy and momentum, without input pipeline, regularization or augmentation; or, in the mode
'input', the pipeline alone (`benchmark_inputs.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator

import benchmark_inputs
import benchmark_peers
import numpy as np

MODES = ('training', 'inference', 'input')

_LEARNING_RATE = 0.001
_MOMENTUM = 0.9
_WARM_UP_STEPS = 2  # Beside the first, which traces and compiles.
_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to run.

  Attributes:
    network: its name in this project.
    mode: 'training' trains every layer, 'inference' computes logits, and 'input' reads photos for
      training, without a network.
    batch_size: images per step.
    image_size, channels: height and width of the images, and their channels.
    dtype: what layers compute in: 'float32', 'bfloat16' or 'float16'; in PyTorch autocast.
    xla: whether XLA compiles the networks that run on TensorFlow.
    folder: for 'input', directory with one folder of photos per class.
    augmentation: for 'input', one of `benchmark_inputs.AUGMENTATIONS`.
  """
  network: str
  mode: str
  batch_size: int
  image_size: int
  channels: int = 3
  dtype: str = 'float32'
  xla: bool = False
  folder: str = ''
  augmentation: str = 'none'

  def __post_init__(self):
    if self.mode not in MODES:
      raise ValueError(f'Expected one of the modes {", ".join(MODES)}. Received: {self.mode!r}.')

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images."""
    return self.image_size, self.image_size, self.channels

  def batch(self) -> tuple[np.ndarray, np.ndarray]:
    """Makes images, float32 [batch, size, size, channels] in [-1, 1), and int32 labels [batch]."""
    rng = np.random.default_rng(0)
    images = rng.random([self.batch_size, *self.image_shape], np.float32) * 2 - 1
    return images, rng.integers(_CLASSES, size=self.batch_size, dtype=np.int32)


@dataclasses.dataclass(frozen=True)
class Contender:
  """A contender that is ready.

  Attributes:
    run: runs a number of steps, to their end.
    parameters: number of its trainable parameters.
    packages: the packages it runs on.
  """
  run: Callable[[int], object]
  parameters: int
  packages: tuple[str, ...]


def ours(settings: Settings) -> Contender:
  """This project's network and trainer."""
  import tensorflow as tf

  from nets import nets_factory
  from slim_zoo.training import optimizers, schedules, trainer
  is_training = settings.mode == 'training'
  network = nets_factory.build_network(
      settings.network, image_shape=settings.image_shape,
      num_classes=_CLASSES, is_training=is_training, dtype=tf.dtypes.as_dtype(settings.dtype))
  images, labels = (tf.constant(value) for value in settings.batch())
  if is_training:
    trained = trainer.Trainer(
        network, optimizer='momentum', settings=optimizers.Settings(momentum=_MOMENTUM),
        schedule=schedules.Schedule('fixed', _LEARNING_RATE), batch_size=settings.batch_size,
        scales_loss=settings.dtype == 'float16', xla=settings.xla)
    batch = {'image': images, 'label': labels, 'weight': tf.ones([settings.batch_size]),
             'id': tf.range(settings.batch_size, dtype=tf.int64)}
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    run = functools.partial(trained.run, batches)
  else:
    predict = tf.function(lambda images: network(images, is_training=False)[0], autograph=False,
                          jit_compile=settings.xla)
    run = functools.partial(_repeat, lambda: predict(images).numpy())
  return Contender(run, _size(network.variables[name] for name in network.trainable),
                   ('tensorflow', 'tf-slim'))


def keras(settings: Settings) -> Contender:
  """Keras' network; trained with `fit`, called through `tf.function`."""
  import keras
  import tensorflow as tf
  policies = {'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}
  keras.config.set_dtype_policy(policies.get(settings.dtype, 'float32'))
  build = getattr(keras.applications, benchmark_peers.KERAS[settings.network])
  more = {'include_preprocessing': False} if 'MobileNetV3' in build.__name__ else {}
  model = build(weights=None, classes=_CLASSES, classifier_activation=None,
                input_shape=settings.image_shape, **more)
  images, labels = (tf.constant(value) for value in settings.batch())
  if settings.mode == 'training':
    model.compile(keras.optimizers.SGD(_LEARNING_RATE, momentum=_MOMENTUM),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  jit_compile=settings.xla)
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()

    def run(num_steps: int) -> None:
      model.fit(data, steps_per_epoch=num_steps, verbose=0)
  else:
    predict = tf.function(lambda images: model(images, training=False),
                          jit_compile=settings.xla)
    run = functools.partial(_repeat, lambda: predict(images).numpy())
  return Contender(run, _size(model.trainable_variables), ('tensorflow', 'keras'))


def tf_slim(settings: Settings) -> Contender:
  """TF-Slim's own network in a graph and a session, as in its own programs."""
  import tensorflow as tf
  import tf_slim
  v1 = tf.compat.v1
  module, arg_scope = benchmark_peers.TF_SLIM[settings.network]
  module = importlib.import_module(f'tf_slim.nets.{module}')
  images, labels = settings.batch()
  with tf.Graph().as_default():
    local = [v1.GraphKeys.LOCAL_VARIABLES]
    images, labels = (v1.Variable(value, trainable=False, collections=local)
                      for value in (images, labels))
    with tf_slim.arg_scope(getattr(module, arg_scope)(weight_decay=0.0)):
      logits, _ = getattr(module, settings.network)(
          images, _CLASSES, is_training=settings.mode == 'training')
    variables = v1.trainable_variables()
    step = logits.op
    if settings.mode == 'training':
      v1.losses.sparse_softmax_cross_entropy(labels, logits)
      optimizer = v1.train.MomentumOptimizer(_LEARNING_RATE, _MOMENTUM)
      step = optimizer.minimize(v1.losses.get_total_loss())
    session = v1.Session()
    session.run([v1.global_variables_initializer(), v1.local_variables_initializer()])
  return Contender(functools.partial(_repeat, lambda: session.run(step)), _size(variables),
                   ('tensorflow', 'tf-slim'))


def torch(settings: Settings, *, is_compiled: bool = False) -> Contender:
  """The network of timm in PyTorch, with images and kernels in channels_last order."""
  import timm
  import torch
  name = benchmark_peers.TIMM[settings.network]
  is_training = settings.mode == 'training'
  more = {'aux_logits': True} if name == 'inception_v3' and is_training else {}
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = timm.create_model(name, num_classes=_CLASSES, **more)
  model = model.to(device, memory_format=torch.channels_last).train(is_training)
  images, labels = (torch.from_numpy(value).to(device) for value in settings.batch())
  images = images.permute(0, 3, 1, 2)  # A view: the memory stays in channels_last order.
  labels = labels.long()
  parameters = sum(parameter.numel() for parameter in model.parameters())
  optimizer = torch.optim.SGD(model.parameters(), lr=_LEARNING_RATE, momentum=_MOMENTUM)
  scaler = torch.amp.GradScaler(device, enabled=settings.dtype == 'float16')
  called = torch.compile(model) if is_compiled else model
  autocast = functools.partial(torch.autocast, device, getattr(torch, settings.dtype),
                               enabled=settings.dtype != 'float32')

  def train() -> None:
    with autocast():
      outputs = called(images)
      outputs = outputs if isinstance(outputs, tuple) else (outputs,)  # With an auxiliary head.
      loss = sum(factor * torch.nn.functional.cross_entropy(logits, labels)
                 for factor, logits in zip((1, 0.4), outputs, strict=False))
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()

  def infer() -> None:
    with torch.inference_mode(), autocast():
      called(images)

  def run(num_steps: int) -> None:
    _repeat(train if is_training else infer, num_steps)
    if device == 'cuda':
      torch.cuda.synchronize()

  return Contender(run, parameters, ('torch', 'timm'))


def roof(settings: Settings) -> Contender:
  """The convolutions and matrix products of our network alone, each on its own random numbers.

  In training also their gradients. Nothing waits for anything else, and there are no
  normalizations, activations, poolings or updates: what TensorFlow's kernels can do at most.
  """
  import tensorflow as tf

  from nets import complexity, outline
  dtype = tf.dtypes.as_dtype(settings.dtype)
  found = outline.trace(settings.network, _CLASSES, image_shape=settings.image_shape)
  arrays = {}

  def numbers(key) -> None:
    if key not in arrays:
      arrays[key] = tf.cast(tf.random.stateless_normal(key[0], [1, len(arrays)]), dtype)

  # Each layer has its own weights and gradients: TensorFlow would compute layers with the same
  # numbers once. Inputs of the same shape are the same, to save memory.
  layers = []
  for number, operation in enumerate(found.graph.get_operations()):
    if complexity.multiply_adds(operation):
      inputs, weights, outputs = _shapes(operation, settings.batch_size)
      keys = [(inputs, -1), (weights, number), (outputs, number)]
      layers.append((operation, keys))
      for key in keys:
        numbers(key)

  @tf.function(autograph=False, jit_compile=settings.xla)
  def step(arrays):
    results = []
    for operation, keys in layers:
      results += _layer(operation, [arrays[key] for key in keys],
                        with_gradients=settings.mode == 'training')
    return tf.add_n([tf.cast(tf.reshape(result, [-1])[0], tf.float32) for result in results])

  return Contender(functools.partial(_repeat, lambda: step(arrays).numpy()),
                   sum(math.prod(shape) for shape in found.trainable.values()), ('tensorflow',))


def _shapes(operation, batch_size: int) -> tuple[tuple[int, ...], ...]:
  """The shapes of a layer's inputs, weights and outputs, for a batch."""
  inputs, weights = (tuple(tensor.shape) for tensor in operation.inputs)
  return (batch_size, *inputs[1:]), weights, (batch_size, *operation.outputs[0].shape[1:])


def _layer(operation, arrays, *, with_gradients: bool) -> Iterator:
  """Yields the results of a layer, and its gradients for its inputs and weights.

  Args:
    operation: a convolution or a matrix product.
    arrays: in place of its inputs, its weights and the gradient of its outputs.
    with_gradients: whether to compute the gradients.
  """
  import tensorflow as tf
  inputs, weights, outputs = arrays
  raw = tf.raw_ops
  if operation.type == 'MatMul':
    yield tf.matmul(inputs, weights)
    if with_gradients:
      yield tf.matmul(outputs, weights, transpose_b=True)
      yield tf.matmul(inputs, outputs, transpose_a=True)
    return
  names = ('strides', 'padding', 'dilations', 'explicit_paddings')
  options = {name: operation.get_attr(name) for name in names}
  options['padding'] = options['padding'].decode()
  kind = {'Conv2D': ('Conv2D', 'Conv2DBackprop{}'),
          'DepthwiseConv2dNative': ('DepthwiseConv2dNative', 'DepthwiseConv2dNativeBackprop{}')}
  forward, backward = kind[operation.type]
  yield getattr(raw, forward)(input=inputs, filter=weights, **options)
  if with_gradients:
    yield getattr(raw, backward.format('Input'))(
        input_sizes=tf.shape(inputs), filter=weights, out_backprop=outputs, **options)
    yield getattr(raw, backward.format('Filter'))(
        input=inputs, filter_sizes=tf.shape(weights), out_backprop=outputs, **options)


def _repeat(step: Callable[[], object], num_steps: int) -> None:
  for _ in range(num_steps):
    step()


def _size(variables) -> int:
  return sum(math.prod(variable.shape) for variable in variables)


CONTENDERS: dict[str, Callable[[Settings], Contender]] = {
    'ours': ours, 'roof': roof, 'torch': torch,
    'torch_compile': functools.partial(torch, is_compiled=True), 'keras': keras,
    'tf_slim': tf_slim,
}
NETWORKS = {'torch': benchmark_peers.TIMM, 'torch_compile': benchmark_peers.TIMM,
            'keras': benchmark_peers.KERAS, 'tf_slim': benchmark_peers.TF_SLIM}


def build(name: str, settings: Settings) -> Contender:
  """Builds a contender by its name."""
  if settings.mode != 'input':
    return CONTENDERS[name](settings)
  make, packages = benchmark_inputs.CONTENDERS[name]
  run = make(benchmark_inputs.Photos(settings.folder, settings.augmentation, settings.network,
                                     settings.batch_size, settings.image_size))
  return Contender(run, 0, packages)


def versions(contender: Contender) -> str:
  """Returns the versions a contender runs on, such as 'python 3.11.7, torch 2.13.0'."""
  packages = [f'{name} {importlib.metadata.version(name)}' for name in contender.packages]
  return ', '.join([f'python {platform.python_version()}', *packages])


def main() -> None:
  """Builds the contender named on the command line and runs steps on request."""
  answers = os.fdopen(os.dup(1), 'w', buffering=1)
  os.dup2(2, 1)  # Keeps other output apart from the answers.
  start = time.perf_counter()
  contender = build(sys.argv[1], Settings(**json.loads(sys.argv[2])))
  built = time.perf_counter()
  contender.run(1)
  first = time.perf_counter()
  contender.run(_WARM_UP_STEPS)
  print(json.dumps({'parameters': contender.parameters, 'versions': versions(contender),
                    'seconds_to_start': built - start, 'seconds_of_first_step': first - built}),
        file=answers)
  for line in sys.stdin:
    start = time.perf_counter()
    contender.run(int(line))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({'seconds': seconds, 'peak_bytes': peak}), file=answers)


if __name__ == '__main__':
  main()
