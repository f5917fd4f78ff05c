"""Custom heads that replace a network's classifier.

A head is a specification such as `fc:512,dropout:0.5,fc`, or a Python function that uses slim's
layers, `my_file.py:head`. Its variables are under `head/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import pathlib
from collections.abc import Callable

import tensorflow as tf

from nets import end_points, heads, layers
from nets.variants import NetFunction, default_image_size

SCOPE = 'head'
# Arguments that `network.Network` sets in the arg scope; they belong to the run.
_OF_THE_RUN = ('decay_of_run', 'is_frozen', 'is_synchronized', 'keys', 'step')
_VOCABULARY = ('elements separated by commas: pool (the mean over the image), flatten, fc:512 '
               '(fully connected with ReLU, any width), dropout:0.5 (the share that is dropped), '
               'and fc at the end; or my_file.py:function')


def is_function(text: str) -> bool:
  """Returns whether a head is a Python function, which runs only if the user specifies it."""
  return text.rpartition(':')[0].endswith('.py')


def label(text: str | None) -> str | None:
  """Returns a head as checkpoints record it: for a function, without the file's directory."""
  if not text:
    return text
  return pathlib.Path(text).name if is_function(text) else ','.join(_split(text))


def digest(text: str | None) -> str | None:
  """Returns the sha256, in hexadecimal, of the file of a function; None for other heads.

  Modules that the file imports are not included.

  Raises:
    OSError: if the file cannot be read.
  """
  if not text or not is_function(text):
    return None
  return hashlib.sha256(_file_of(text).read_bytes()).hexdigest()


def parse(text: str) -> Callable[[tf.Tensor, int, bool], tf.Tensor]:
  """Parses a head.

  Args:
    text: as in the module's docstring. The file of a function is run; the function takes
      (features, num_classes, is_training) and returns logits [batch, num_classes].

  Returns:
    `head(features, num_classes, is_training) -> logits`, to be called in a scope of its own.

  Raises:
    ValueError: if `text` is neither a specification nor a function.
    OSError: if the file cannot be read.
  """
  return _load(text) if is_function(text) else _Layers(text)


def attach(function: NetFunction, head: Callable, head_from: str, *,
           trunk_classes: int | None = None) -> NetFunction:
  """Replaces a network's classifier and auxiliary heads by a head.

  Args:
    function: the network's function.
    head: from `parse`.
    head_from: full name of the end point that is the head's input.
    trunk_classes: number of classes of the network's own classifier, for an end point that needs
      it.

  Returns:
    A network function; its variables are those that the end point needs, and the head's.
  """
  body = end_points.up_to(function, head_from)

  @default_image_size(function.default_image_size)
  def network(images: tf.Tensor, num_classes: int, *, is_training: bool):
    features, _ = body(images, trunk_classes, is_training=is_training)
    logits = apply(head, features, num_classes, is_training=is_training)
    return heads.add_predictions(logits, {})

  return network


@layers.add_arg_scope
def apply(head: Callable, features: tf.Tensor, num_classes: int, *, is_training: bool,
          weights_regularizer=None) -> tf.Tensor:
  """Applies a head to features, with slim's defaults for all layers instead of the network's.

  Args:
    head: from `parse`.
    features: [batch, …].
    num_classes: number of classes.
    is_training: a Python bool.
    weights_regularizer: of all weights.

  Returns:
    Logits [batch, num_classes].

  Raises:
    ValueError: if the head returns something else.
  """
  scope = {op: {name: value for name, value in arguments.items() if name in _OF_THE_RUN}
           for op, arguments in layers.current_arg_scope().items()}
  with tf.compat.v1.variable_scope(SCOPE, initializer=layers.xavier_initializer()), \
      layers.arg_scope(scope), \
      layers.arg_scope([layers.conv2d, layers.separable_conv2d, layers.fully_connected],
                       weights_regularizer=weights_regularizer), \
      layers.arg_scope([layers.dropout, layers.drop_path, layers.batch_norm],
                       is_training=is_training):
    logits = head(features, num_classes, is_training)
  if not tf.is_tensor(logits) or logits.shape.as_list() != [features.shape[0], num_classes]:
    raise ValueError(f'--head: expected logits [{features.shape[0]}, {num_classes}]. Received: '
                     f'{logits.shape if tf.is_tensor(logits) else type(logits).__name__}.')
  return logits


def arg_scope(network_arg_scope: Callable) -> Callable:
  """Returns a network's arg scope with weight decay for a head."""
  def with_head(weight_decay: float = 0.0):
    with layers.arg_scope(network_arg_scope(weight_decay=weight_decay)), \
        layers.arg_scope([apply], weights_regularizer=layers.l2_regularizer(weight_decay)) as scope:
      return scope

  return with_head


def _split(text: str) -> list[str]:
  return [element.strip() for element in text.split(',')]


@dataclasses.dataclass(frozen=True)
class _Layers:
  """A head from its specification."""
  text: str

  def __post_init__(self):
    elements = _split(self.text)
    for element in elements[:-1]:
      _check(element, self.text)
    if elements[-1] != 'fc':
      raise ValueError(f'--head: expected {_VOCABULARY}. Received: {self.text!r}, which does not '
                       'end with fc.')

  def __call__(self, features: tf.Tensor, num_classes: int, is_training: bool) -> tf.Tensor:
    net, count = features, 0
    elements = _split(self.text)
    for position, element in enumerate(elements):
      kind, _, number = element.partition(':')
      if kind == 'pool':
        if net.shape.rank != 4:
          raise ValueError('--head: expected features [height, width, channels] to pool. Received: '
                           f'{net.shape[1:]}. Leave out pool, or choose another --head_from.')
        net = heads.squeeze(heads.spatial_mean(net))
      elif kind == 'dropout':
        net = layers.dropout(net, 1 - float(number), scope=f'dropout{position}')
      else:
        net = layers.flatten(net)
      if kind == 'fc':
        count += 1
        last = position == len(elements) - 1
        net = layers.fully_connected(net, num_classes if last else int(number), scope=f'fc{count}',
                                     activation_fn=None if last else tf.nn.relu)
    return net


def _check(element: str, text: str) -> None:
  kind, colon, number = element.partition(':')
  takes_number = {'pool': None, 'flatten': None, 'fc': lambda n: int(n) > 0,
                  'dropout': lambda n: 0 <= float(n) < 1}
  try:
    check = takes_number[kind]
    good = check(number) if check else not colon
  except (KeyError, ValueError):
    good = False
  if not good:
    raise ValueError(f'--head: expected {_VOCABULARY}. Received: {element!r} in {text!r}.')


def _file_of(text: str) -> pathlib.Path:
  path = text.rpartition(':')[0]
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f'--head: expected a Python file. Received: {path}, not a file.')
  return file


def _load(text: str) -> Callable:
  path, _, name = text.rpartition(':')
  file = _file_of(text)
  spec = importlib.util.spec_from_file_location('head_of_the_user', file)
  if spec is None or spec.loader is None:  # Does not happen for a name that ends in .py.
    raise ValueError(f'--head: expected a Python file. Received: {path}.')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:  # Whatever the user's program raises.
    raise ValueError(f'--head: {path} cannot be run: {type(error).__name__}: {error}') from error
  function = getattr(module, name, None)
  if not callable(function):
    raise ValueError(f'--head: expected a function {name!r} in {path}. Received: '
                     + ('none of that name.' if function is None else f'{function!r}.'))
  try:
    inspect.signature(function).bind(None, 2, False)
  except TypeError as error:
    raise ValueError(f'--head: expected {name}(features, num_classes, is_training) in {path}. '
                     f'Received: {name}{inspect.signature(function)}.') from error
  return function
