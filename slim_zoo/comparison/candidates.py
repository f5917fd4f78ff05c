"""The networks to compare: finding their weights, and checking them before anything is computed."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from datasets.dataset import Dataset
from files.errors import unknown_name
from nets import complexity, extractors, nets_factory, outline
from nets.record import Net
from slim_zoo.config.data import Data
from slim_zoo.config.flag_values import Parsed, options_of, values_of
from slim_zoo.config.option import expand, options_of_topic
from slim_zoo.config.programs import Compare, Extract
from slim_zoo.features import extraction, linear_classifiers
from slim_zoo.weights import opening, published, restore, sources

_SYNTAX = '[NETWORK=]PATH[@IMAGE_SIZE]'


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A pretrained network, of which no variable exists yet.

  Attributes:
    weights_name: the weights, as the user named them.
    source: what its features are made with.
    head: the head of a linear classifier on them, as `custom_head.parse` takes it.
    width: number of values of an image that the classifier gets.
    multiply_adds: of an image, up to the features.
    parameters: number of trainable parameters, with the classifier's.
    num_bytes: size of all variables, with the classifier's.
  """
  weights_name: str
  source: extraction.Source
  _: dataclasses.KW_ONLY
  head: str
  width: int
  multiply_adds: int
  parameters: int
  num_bytes: int

  @property
  def model_name(self) -> str:
    """The network's name."""
    return self.source.config.model.model_name

  @property
  def short_name(self) -> str:
    """The weights without their directory, for tables and pictures."""
    return os.path.basename(self.weights_name.rstrip('/'))

  @property
  def name(self) -> str:
    """The network and the weights, for messages."""
    return f'{self.model_name} ({self.short_name})'


@dataclasses.dataclass(frozen=True)
class _Entry:
  """An element of --checkpoint_paths: `[NETWORK=]PATH[@IMAGE_SIZE]`."""
  text: str
  model_name: str | None
  path: str
  image_size: int | None


def open_all(parsed: Parsed[Compare], dataset: Dataset) -> list[Candidate]:
  """Opens all weights, and checks that their networks fit the images.

  Args:
    parsed: the command line.
    dataset: the images.

  Returns:
    The candidates, those with the least arithmetic first.

  Raises:
    ValueError: if some weights cannot be used; it names all of them.
  """
  found, problems, text = [], [], parsed.config.comparison.checkpoint_paths
  for entry in _entries(text):
    try:
      found.append(_open(entry, parsed, dataset))
    except (OSError, ValueError, tf.errors.OpError) as error:
      problems.append(f'{entry.text}: {error}')
  if problems and text is None and found:  # Nobody asked for these.
    print('Left out, because they cannot be used with these images:\n' + '\n'.join(problems))
  elif problems:
    raise ValueError('--checkpoint_paths: expected weights that can be used with these images. '
                     f'Received {len(problems)} of {len(problems) + len(found)} that cannot; '
                     'nothing was computed.\n' + '\n'.join(problems))
  _check_different(found)
  return sorted(found, key=lambda one: (one.multiply_adds, one.weights_name))


def _check_different(found: Sequence[Candidate]) -> None:
  """Checks that no two candidates are the same network with the same weights.

  Raises:
    ValueError: if there are such two.
  """
  names: dict[tuple[str, str, int], str] = {}
  for one in found:
    key = (os.path.abspath(one.source.weights.path), one.model_name, one.source.image_size)
    if key in names:
      raise ValueError('--checkpoint_paths: expected different weights. Received the same twice: '
                       f'{names[key]} and {one.weights_name}.')
    names[key] = one.weights_name


def _entries(text: str | None) -> list[_Entry]:
  """Parses --checkpoint_paths; by default, the published weights that have been downloaded."""
  texts = [part.strip() for part in (text or '').split(',') if part.strip()]
  if not texts and text is None:
    texts = [f'{published.PREFIX}{name}' for name in published.list_downloaded()]
    if texts:
      print(f'Weights that have been downloaded: {", ".join(texts)}.')
  if not texts:
    raise ValueError('--checkpoint_paths: expected weights, separated by commas, such as '
                     'zoo:mobilenet_v1_1.0_224,zoo:keras_resnet50. Received: none, and no '
                     'published weights have been downloaded yet.')
  repeated = [name for name, count in collections.Counter(texts).items() if count > 1]
  if repeated:
    raise ValueError('--checkpoint_paths: expected different weights. Received several times: '
                     f'{", ".join(repeated)}.')
  return [_parse(one) for one in texts]


def _parse(text: str) -> _Entry:
  """Parses one element; what exists under its whole name is a path."""
  name, separator, rest = text.partition('=')
  model_name = None
  if separator and not os.path.lexists(expand(text)):
    if name in nets_factory.NETS:
      model_name, text_of_path = name, rest
    elif os.sep in name:
      text_of_path = text
    else:
      raise unknown_name(f'network in --checkpoint_paths={text}', name, nets_factory.NETS)
  else:
    text_of_path = text
  size = re.fullmatch(r'(.+)@(\d+)', text_of_path)
  if size and not os.path.lexists(expand(text_of_path)):
    if not int(size[2]):
      raise ValueError(f'--checkpoint_paths={text}: expected an image size above 0. Received: 0.')
    return _Entry(text, model_name, expand(size[1]), int(size[2]))
  return _Entry(text, model_name, expand(text_of_path), None)


def _open(entry: _Entry, parsed: Parsed[Compare], dataset: Dataset) -> Candidate:
  """Opens the weights of one candidate, and checks that everything that is needed is there."""
  weights = sources.open_weights(entry.path)
  name = entry.model_name or weights.metadata.get('model_name')
  if not name:
    raise ValueError('expected weights that tell their network, or its name before them, as in '
                     f'mobilenet_v1={entry.path} ({_SYNTAX}). Received: neither. list_networks.py '
                     'lists the names.')
  order = parsed.config.comparison.checkpoint_channel_order
  if order and _lacks_order(weights, name):
    weights = dataclasses.replace(weights, channel_order=order)
  known = opening.facts_of(weights, name)
  if known.get('dataset', {}).get('fingerprint') == dataset.fingerprint:
    raise ValueError('expected a network that was not trained on these images. Received: one that '
                     'was; on images that it knows, its accuracy tells nothing.')
  kept, data = opening.as_options(known), parsed.config.data
  if kept.get('dataset_name') == data.dataset_name and data.dataset_dir and (
      kept.get('dataset_dir') == os.path.abspath(data.dataset_dir)):
    print(f'Warning: {entry.text} was trained on images of the same directory; on images that it '
          'knows, its accuracy tells nothing.')
  source = extraction.find_source(_as_extraction(parsed, entry), weights, known)
  source, traced = _choose_end_point(source, dataset)
  shape = tuple(map(int, traced.output.shape[1:]))
  head = linear_classifiers.default_head(shape)
  width = shape[-1] if head.startswith('pool') else math.prod(shape)
  of_head = (width + 1) * dataset.num_classes
  trainable, others = (sum(math.prod(one) for one in shapes.values())
                       for shapes in (traced.trainable, traced.others))
  return Candidate(
      entry.text.removeprefix(f'{entry.model_name}='), source, head=head, width=width,
      multiply_adds=sum(map(complexity.multiply_adds, traced.operations())),
      parameters=trainable + of_head, num_bytes=4 * (trainable + others + of_head))


def _lacks_order(weights: sources.Weights, name: str) -> bool:
  """Returns whether nothing tells the channel order that the first layer expects."""
  if weights.channel_order or not (weights.format and weights.format.takes_order):
    return False
  try:
    weights.format.dialects(name, None)
  except ValueError:
    return True
  return False


def _as_extraction(parsed: Parsed[Compare], entry: _Entry) -> Parsed[Extract]:
  """Returns the command line that extracts the features of a candidate."""
  values, known = values_of(parsed.config), options_of(Extract)
  names = {*options_of_topic(Data), 'batch_size', *(parsed.given & set(known))}
  given = {name: values[name] for name in names} | {'checkpoint_path': entry.path}
  if entry.model_name:
    given['model_name'] = entry.model_name
  if entry.image_size:
    given['image_size'] = entry.image_size
  return Parsed(Extract()).with_given(**given)


def _choose_end_point(source: extraction.Source, dataset: Dataset
                      ) -> tuple[extraction.Source, outline.Outline]:
  """Finds the last end point of those usual for features that the weights have all layers of.

  Weights without fully connected layers, such as VGG's, have none of those at 1 × 1 pixels; the
  last map is used then.

  Raises:
    ValueError: if there is none.
  """
  tried: list[tuple[str, outline.Outline, restore.Report]] = []
  name, channels = source.config.model.model_name, source.channels(dataset)
  for end_point in _usual(source.net, source.end_point):
    traced = outline.trace_up_to(source.net, end_point, num_classes=source.num_classes,
                                 image_shape=[source.image_size, source.image_size, channels])
    variables = {name: tf.TensorSpec(shape)
                 for name, shape in {**traced.trainable, **traced.others}.items()}
    report = opening.plan(source.weights, name, variables,
                          use_averages=source.config.weights.use_moving_averages,
                          change_channels=source.config.weights.convert_input_channels)
    tried.append((end_point, traced, report))
    if all(row.status == restore.RESTORED for row in report.rows):
      tried.reverse()
      break
  end_point, traced, report = tried[0]
  restore.check(report, advice=(
      f'Expected: weights of {name}, for images with {channels} '
      f'{"channel" if channels == 1 else "channels"}. If they are of another network, name it '
      f'({_SYNTAX}); see also --convert_input_channels.'))
  if end_point != source.end_point:
    print(f'{source.weights.path} does not have all layers up to {source.end_point}: the features '
          f'are {end_point}, averaged over the image.')
  return dataclasses.replace(source, end_point=end_point), traced


def _usual(net: Net, end_point: str) -> Iterator[str]:
  """Yields an end point and those before it, up to the first map of several pixels."""
  yield end_point
  before: Sequence[str] = ()
  shapes = extractors.list_end_points(net)
  names = list(shapes)
  if end_point in names:
    before = names[:names.index(end_point)][::-1]
  for name in before:
    if name != end_point:
      yield name
    if len(shapes[name]) == 3 and shapes[name][0] > 1:
      return
