"""The contenders of `benchmark_training_step.py`, each a process that runs steps on request.

    python benchmark_contenders.py tf_slim '{"mode": "all", "batch_size": 32, …}'

When ready, the process prints one line of JSON. Each line of standard input is then a number of
steps to run, answered by a line with the seconds they took. The process exits at end of input. Only
the contender's own framework is imported, so the file also runs where TensorFlow is not installed.

All run `alexnet_v2` in float32 on the same fixed images, with softmax cross-entropy, L2 on the
weights, dropout, momentum and the same hyper-parameters.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable

import numpy as np

MODES = ('all', 'head', 'inference')

_HEAD = 'alexnet_v2/fc8'
_LEARNING_RATE = 0.01
_MOMENTUM = 0.9
_WEIGHT_DECAY = 0.0005
_WARM_UP_STEPS = 3  # The first steps trace, compile and allocate.


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to run.

  Attributes:
    mode: 'all' trains every layer, 'head' only `fc8` behind a frozen trunk, 'inference' nothing.
    batch_size: images per step.
    image_size: height and width of the images.
    num_classes: width of the logits.
  """
  mode: str
  batch_size: int
  image_size: int = 224
  num_classes: int = 1000

  def __post_init__(self):
    if self.mode not in MODES:
      raise ValueError(f'Expected one of the modes {", ".join(MODES)}. Received: {self.mode!r}.')

  def batch(self) -> tuple[np.ndarray, np.ndarray]:
    """Makes images, float32 [batch, size, size, 3] in [-1, 1), and labels, int32 [batch]."""
    rng = np.random.default_rng(0)
    shape = [self.batch_size, self.image_size, self.image_size, 3]
    images = rng.random(shape, np.float32) * 2 - 1
    return images, rng.integers(self.num_classes, size=self.batch_size, dtype=np.int32)


@dataclasses.dataclass(frozen=True)
class Contender:
  """A contender that is ready.

  Attributes:
    run: runs a number of steps.
    trained: number of parameters that are trained.
    parameters: number of parameters of the network.
    packages: the packages it runs on.
  """
  run: Callable[[int], object]
  trained: int
  parameters: int
  packages: tuple[str, ...]


def tf_slim_graph(settings: Settings) -> Contender:
  """TF-Slim's own network in a graph and a session, as in its own programs."""
  import tensorflow as tf
  import tf_slim
  from tf_slim.nets import alexnet
  v1 = tf.compat.v1
  images, labels = settings.batch()
  with tf.Graph().as_default():
    local = [v1.GraphKeys.LOCAL_VARIABLES]
    images, labels = (v1.Variable(value, trainable=False, collections=local)
                      for value in (images, labels))
    with tf_slim.arg_scope(alexnet.alexnet_v2_arg_scope(weight_decay=_WEIGHT_DECAY)):
      logits, _ = alexnet.alexnet_v2(images, settings.num_classes,
                                     is_training=settings.mode != 'inference')
    variables = v1.trainable_variables()
    trained = {'all': variables, 'head': v1.trainable_variables(_HEAD), 'inference': []}
    trained = trained[settings.mode]
    step = logits.op
    if trained:
      v1.losses.sparse_softmax_cross_entropy(labels, logits)
      optimizer = v1.train.MomentumOptimizer(_LEARNING_RATE, _MOMENTUM)
      step = optimizer.minimize(v1.losses.get_total_loss(), var_list=trained)
    session = v1.Session()
    session.run([v1.global_variables_initializer(), v1.local_variables_initializer()])

  def run(num_steps: int) -> None:
    for _ in range(num_steps):
      session.run(step)

  return Contender(run, _size(trained), _size(variables), ('tensorflow', 'tf-slim'))


def slim_zoo(settings: Settings, *, xla: bool) -> Contender:
  """This project's network and trainer."""
  import tensorflow as tf

  from nets import nets_factory
  from slim_zoo.training import optimizers, schedules, trainer
  is_training = settings.mode != 'inference'
  network = nets_factory.build_network(
      'alexnet_v2', image_shape=[settings.image_size, settings.image_size, 3],
      num_classes=settings.num_classes, weight_decay=_WEIGHT_DECAY, is_training=is_training,
      trainable_scopes=[_HEAD] if settings.mode == 'head' else ())
  images, labels = (tf.constant(value) for value in settings.batch())
  if is_training:
    trained = trainer.Trainer(
        network, optimizer='momentum', settings=optimizers.Settings(momentum=_MOMENTUM),
        schedule=schedules.Schedule('fixed', _LEARNING_RATE), batch_size=settings.batch_size,
        xla=xla)
    batch = {'image': images, 'label': labels, 'weight': tf.ones([settings.batch_size]),
             'id': tf.range(settings.batch_size, dtype=tf.int64)}
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    run = functools.partial(trained.run, batches)
  else:
    predict = tf.function(lambda images: network(images, is_training=False)[0], autograph=False,
                          jit_compile=xla)

    def run(num_steps: int) -> None:
      for _ in range(num_steps):
        predict(images).numpy()

  names = network.trainable if is_training else ()
  return Contender(run, _size(network.variables[name] for name in names),
                   _size(network.variables.values()), ('tensorflow', 'tf-slim'))


def _size(variables) -> int:
  return sum(int(np.prod(variable.shape)) for variable in variables)


def _torch_trunk() -> list:
  """Returns the layers of `alexnet_v2` before `fc8`, for inputs [batch, 3, 224, 224]."""
  from torch import nn

  def conv(inputs, outputs, kernel_size, **arguments):
    return [nn.Conv2d(inputs, outputs, kernel_size, **arguments), nn.ReLU(inplace=True)]

  return [
      *conv(3, 64, 11, stride=4), nn.MaxPool2d(3, 2),
      *conv(64, 192, 5, padding=2), nn.MaxPool2d(3, 2),
      *conv(192, 384, 3, padding=1),
      *conv(384, 384, 3, padding=1),
      *conv(384, 256, 3, padding=1), nn.MaxPool2d(3, 2),
      nn.Flatten(),
      nn.Linear(5 * 5 * 256, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5),
      nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5),
  ]


def pytorch(settings: Settings) -> Contender:
  """The same network in eager PyTorch, with images and kernels in channels_last order."""
  import torch
  from torch import nn
  trunk, head = nn.Sequential(*_torch_trunk()), nn.Linear(4096, settings.num_classes)
  whole = nn.Sequential(trunk, head).to(memory_format=torch.channels_last)
  whole.train(settings.mode != 'inference')
  images, labels = (torch.from_numpy(value) for value in settings.batch())
  images = images.permute(0, 3, 1, 2)  # A view: the memory stays in channels_last order.
  labels = labels.long()
  trained = {'all': whole, 'head': head, 'inference': nn.Identity()}[settings.mode]
  trained = list(trained.named_parameters())

  if trained:
    decays = {True: [], False: []}
    for name, parameter in trained:
      decays[name.endswith('weight')].append(parameter)
    optimizer = torch.optim.SGD(
        [{'params': decays[True], 'weight_decay': _WEIGHT_DECAY}, {'params': decays[False]}],
        lr=_LEARNING_RATE, momentum=_MOMENTUM)

  def train() -> None:
    with torch.set_grad_enabled(settings.mode == 'all'):
      features = trunk(images)
    loss = nn.functional.cross_entropy(head(features), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

  def run(num_steps: int) -> None:
    for _ in range(num_steps):
      if trained:
        train()
      else:
        with torch.inference_mode():
          whole(images)

  return Contender(run, sum(p.numel() for _, p in trained),
                   sum(p.numel() for p in whole.parameters()), ('torch',))


CONTENDERS: dict[str, Callable[[Settings], Contender]] = {
    'tf_slim': tf_slim_graph,
    'slim_zoo': functools.partial(slim_zoo, xla=False),
    'slim_zoo_xla': functools.partial(slim_zoo, xla=True),
    'pytorch': pytorch,
}


def versions(contender: Contender) -> str:
  """Returns the versions a contender runs on, such as 'python 3.11.7, torch 2.13.0'."""
  packages = [f'{name} {importlib.metadata.version(name)}' for name in contender.packages]
  return ', '.join([f'python {platform.python_version()}', *packages])


def main() -> None:
  """Builds the contender named on the command line and runs steps on request."""
  answers = os.fdopen(os.dup(1), 'w', buffering=1)
  os.dup2(2, 1)  # Keeps other output apart from the answers.
  contender = CONTENDERS[sys.argv[1]](Settings(**json.loads(sys.argv[2])))
  contender.run(_WARM_UP_STEPS)
  print(json.dumps({'trained': contender.trained, 'parameters': contender.parameters,
                    'versions': versions(contender)}), file=answers)
  for line in sys.stdin:
    start = time.perf_counter()
    contender.run(int(line))
    print(time.perf_counter() - start, file=answers)


if __name__ == '__main__':
  main()
