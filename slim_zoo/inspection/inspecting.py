"""Saying what is in a file of weights, from the command line to the printed commands."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from files.replacing import replacing
from nets import nets_factory
from slim_zoo.config.flag_values import Parsed, options_of
from slim_zoo.config.programs import Inspect, Train
from slim_zoo.inspection import arrays, commands, fits, tables, usage
from slim_zoo.inspection.arrays import AVERAGE, COUNTER, SLOT, VARIABLE, Array
from slim_zoo.inspection.fits import Fit
from slim_zoo.weights import restore, sources

_WIDTH = 100  # Where the output is no terminal.
_LISTED = 4
_LONGEST = 80  # Characters of a name in a text.
_LEAST_SHARE = 0.5  # Of a network's variables; with fewer, it is another network.
_ORDERS = {'rgb': 'made from PyTorch or TF-Slim', 'bgr': 'made from Caffe'}


@dataclasses.dataclass(frozen=True)
class Inspection:
  """What is in a file of weights.

  Attributes:
    path: as the user gave it.
    weights: the file.
    arrays: all its arrays.
    fits: the networks that it may belong to, the best first.
    entry: the published file that it is, with its name; None for another file.
    use: how it is used with the best network; None if no network fits.
    commands: what to do with it; with the channel order that they are for, or ''.
  """
  path: str
  weights: sources.Weights
  arrays: Sequence[Array]
  fits: Sequence[Fit]
  entry: Any
  use: usage.Usage | None
  commands: Mapping[str, Sequence[commands.Command]]

  @property
  def fit(self) -> Fit | None:
    """The best network, if enough of it is there."""
    return self.fits[0] if self.use else None

  def with_role(self, role: str) -> list[Array]:
    """Lists the arrays with a role."""
    return [array for array in self.arrays if array.role == role]

  @property
  def broken(self) -> list[Array]:
    """Lists the arrays with numbers that are not finite."""
    return [array for array in self.arrays if not array.statistics.is_finite]


def inspect(parsed: Parsed[Inspect]) -> int:
  """Inspects one file; returns an exit code."""
  weights, output = parsed.config.weights, parsed.config.output
  path = weights.checkpoint_path
  if not path:
    raise ValueError('Expected: --checkpoint_path, a checkpoint, a directory with one, or weights '
                     'of another format. Received: none.')
  if output.output_path and not output.output_path.endswith('.json'):
    raise ValueError(f'--output_path: expected a .json file. Received: {output.output_path}.')
  if output.output_path and os.path.lexists(output.output_path):  # It may describe a checkpoint.
    raise ValueError(f'--output_path: expected a new file. Received: {output.output_path}, which '
                     'exists. Choose another, or remove it.')
  found = look(path, channel_order=weights.checkpoint_channel_order,
               model_name=weights.model_name)
  width = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
  table = (tables.of_all(found.arrays) if output.all_variables
           else tables.by_scope(found.arrays, width=width))
  lines = [_wrapped(f'{found.path} is {_format(found)}.', width), '', table, '',
           *(_wrapped(line, width) for line in _texts(found)), *_of_commands(found, width)]
  print(''.join(letter if letter.isprintable() or letter == '\n' else '\N{REPLACEMENT CHARACTER}'
                for letter in '\n'.join(lines)))  # Names in a file may have any characters.
  if output.output_path:
    text = json.dumps(_as_json(found), indent=1, default=str)
    with replacing(output.output_path) as aside:
      pathlib.Path(aside).write_text(f'{text}\n', encoding='utf-8')
    print(f'\nWritten to {output.output_path}.')
  return 0


def _wrapped(text: str, width: int) -> str:
  return textwrap.fill(text, width, subsequent_indent='  ', break_long_words=False,
                       break_on_hyphens=False)


def look(path: str, *, channel_order: str | None = None,
         model_name: str | None = None) -> Inspection:
  """Inspects weights.

  Args:
    path: see `sources.open_weights`.
    channel_order: 'rgb' or 'bgr', for formats that do not state which order the first layer
      expects.
    model_name: the only network to compare them with.

  Raises:
    ValueError: if they are not in a known format, or damaged, or if there is no such network.
    OSError: if they do not exist or cannot be read.
  """
  if model_name:
    nets_factory.get_net(model_name)
  weights = sources.open_weights(path, channel_order=channel_order)
  entry = usage.find_published(path)
  if entry and not weights.channel_order and weights.format and weights.format.takes_order:
    weights = dataclasses.replace(weights, channel_order=entry[1].channel_order)
  found = fits.find(weights, model_name=model_name or (entry and entry[1].network))
  read = _in_order(arrays.read_all(weights.source), found)
  fit = found[0] if found and found[0].share >= _LEAST_SHARE else None
  use = usage.find(weights, fit, entry) if fit else None
  by_order: dict[str, Sequence[commands.Command]] = {}
  if fit and use and all(array.statistics.is_finite for array in read):
    given = weights.channel_order if not weights.metadata.get('channel_order') else None
    for order in _ORDERS if fit.needs_order else [given or '']:
      by_order[order if fit.needs_order else ''] = commands.commands(commands.Subject(
        path, weights.metadata, fit, use.facts, order or None))
  return Inspection(path, weights, read, found, entry, use, by_order)


def _in_order(read: Sequence[Array], found: Sequence[Fit]) -> list[Array]:
  """Sorts arrays by the network's layers; a checkpoint has no order of its own."""
  rows = found[0].rows if found else ()
  places = {row.source or row.name: place for place, row in enumerate(rows)}
  places |= {row.name: place for place, row in enumerate(rows)}
  return sorted(read, key=lambda array: places.get(array.name, len(places)))


def _texts(found: Inspection) -> Iterator[str]:
  """Yields what is printed between the table and the commands, in lines of any length."""
  yield from _of_arrays(found)
  yield from _of_metadata(found.weights.metadata)
  yield ''
  yield from _of_network(found)


def _format(found: Inspection) -> str:
  """Names the format, and the file if the path is a folder or an archive."""
  weights = found.weights
  if weights.format:
    name = weights.format.name
  else:
    is_new = os.path.exists(f'{weights.path}.index')
    name = ('a name-based checkpoint of TensorFlow, as TF-Slim writes them'
            + ('' if is_new else ', in the first format (V1)'))
  is_elsewhere = os.path.abspath(weights.path) != os.path.abspath(found.path)
  return name + (f': {weights.path}' if is_elsewhere else '')


def _of_arrays(found: Inspection) -> Iterator[str]:
  """Yields what there is in all."""
  variables = found.with_role(VARIABLE)
  types = collections.Counter(array.dtype for array in variables)
  yield (f'{_count(len(variables), "variable")}, '
         f'{sum(array.count for array in variables):,} parameters, '
         f'{sum(array.num_bytes for array in variables) / 2 ** 20:,.1f} MiB of '
         f'{", ".join(types) or "nothing"}.')
  if averages := found.with_role(AVERAGE):
    yield (f'Moving averages of {_count(len(averages), "variable")}, which programs use instead, '
           'unless --use_moving_averages=false is set.')
  if slots := found.with_role(SLOT):
    kinds = collections.Counter(array.name.rpartition('/')[2] for array in slots)
    yield f'{_count(len(slots), "slot")} of an optimizer: {", ".join(kinds)}.'
  counters = [array for array in found.with_role(COUNTER) if array.statistics.mean is not None
              and not array.name.endswith('num_batches_tracked')]
  if counters:
    yield 'Counters: ' + ', '.join(f'{array.name} {array.statistics.mean:,.10g}'
                                   for array in counters) + '.'
  if found.weights.prefix:
    yield f'All names begin with {found.weights.prefix!r}, which is left out here.'
  if broken := found.broken:
    yield ''
    yield (f'NOT FINITE: {_count(len(broken), "array")} with NaN or infinity. No program takes '
           'them: use another checkpoint, from before the run diverged.')
    yield from (f'  {array.name:.{_LONGEST}}: {array.statistics.num_nan:,} NaN, '
                f'{array.statistics.num_infinite:,} infinite, of {array.count:,}'
                for array in broken[:_LISTED])
    if len(broken) > _LISTED:
      yield f'  … and {len(broken) - _LISTED} more'


def _of_metadata(metadata: Mapping[str, Any]) -> Iterator[str]:
  """Yields what our own metadata say about the training."""
  if not usage.is_described(metadata):
    return
  dataset = metadata.get('dataset', {})
  facts = [f'step {metadata["step"]:,}' if 'step' in metadata else '',
           f'trained on {dataset.get("num_examples", 0):,} examples of '
           f'{dataset.get("name", "an unnamed dataset")}' if dataset else '',
           f'started from {metadata["started_from"]}' if metadata.get('started_from') else '',
           f'converted from {metadata["converted_from"]}' if 'converted_from' in metadata else '',
           f'exported from {metadata["checkpoint"]}' if 'export' in metadata else '']
  yield f'Metadata: {"; ".join(filter(None, facts)) or "no facts about the training"}.'
  defaults = {name: option.default for name, option in options_of(Train).items()}
  flags = [f'--{name}={value}' for name, value in metadata.get('flags', {}).items()
           if name in defaults and value is not None and value != defaults[name]]
  if flags:
    yield f'Its flags: {shlex.join(flags)}'


def _of_network(found: Inspection) -> Iterator[str]:
  """Yields the network, its classes and its images."""
  fit, use = found.fit, found.use
  if fit is None or use is None:
    closest = (f' The closest is {found.fits[0].network}: {found.fits[0].text()}.' if found.fits
               else '')
    yield f'Network: none of the {len(nets_factory.NETS)} fits.{closest}'
    return
  stated = ', as its metadata say' if found.weights.metadata.get('model_name') else ''
  if found.entry:
    stated = f', the published file {found.entry[0]}'
  yield f'Network: {fit.network}{stated}. The file has {fit.text()}.'
  if ties := [other.network for other in fits.tied(found.fits)]:
    yield f'  These fit as well, because their variables are the same: {", ".join(ties)}.'
  yield from _details(fit)
  others = [other for other in found.fits[1:] if other.network not in ties][:_LISTED - 1]
  if others and not fit.is_exact:
    yield from (f'  {other.network}: {other.text()}.' for other in others)
  if fit.num_classes is None:
    yield 'Classes: the file has no classifier for this network; fine-tuning trains one.'
  else:
    yield f'Classes: {fit.num_classes:,}. ' + _names(use)
  grey = ', grey' if fit.channels == 1 else ''
  yield (f'Images: {use.image_size}×{use.image_size}{grey}, {use.size_source}.'
         + (' For another size, set --eval_image_size.' if use.size_source == usage.BY_DEFAULT
            else ''))
  yield (f'Preprocessing: {use.preprocessing_name}, {use.preprocessing_source}: '
         f'{use.transform.describe(use.image_size)}.')
  if use.note:
    yield f'Note: {use.note}'


def _details(fit: Fit) -> Iterator[str]:
  """Yields what is missing and what is left over."""
  for row in fit.missing[:_LISTED]:
    fitted = row.fitted_shape
    yield f'  {row.name} {tables.shape_text(row.shape)}: ' + (
      f'the file has {tables.shape_text(fitted)}' if row.status == restore.MISMATCHED and fitted
      else 'not in the file')
  if len(fit.missing) > _LISTED:
    yield f'  … and {len(fit.missing) - _LISTED} more'
  if fit.unused:
    more = f', … ({len(fit.unused)})' if len(fit.unused) > _LISTED else ''
    names = ', '.join(name[:_LONGEST] for name in fit.unused[:_LISTED])
    yield f'  Left over in the file: {names}{more}'


def _names(use: usage.Usage) -> str:
  """Describes the names of the classes."""
  if not use.classes_source:
    return 'Their names are not in the file; see --labels_path.'
  names = use.class_names
  shown = ', '.join(name or '(none)' for name in names[:_LISTED])
  return f'Their names are {use.classes_source}: {shown}' + (
    ', …' if len(names) > _LISTED else '.')


def _of_commands(found: Inspection, width: int) -> Iterator[str]:
  """Yields the commands."""
  if not found.commands:
    return
  yield ''
  yield _wrapped(f'Replace {commands.PHOTOS} by the directory of your images, which has one '
                 'directory per class.', width)
  for order, listed in found.commands.items():
    if order:
      yield ''
      yield f'If the first layer expects {order.upper()} images ({_ORDERS[order]}):'
    for command in listed:
      yield ''
      yield f'# {_purpose(command, found)}'
      yield command.text()


def _purpose(command: commands.Command, found: Inspection) -> str:
  """Says what a command does, and what images it expects."""
  if command.purpose == commands.PREDICT:
    return 'Predict the classes of images.'
  if command.purpose == commands.TRAIN:
    lacks = found.fit and found.fit.missing
    return (f'Fine-tune: train the classifier{" and what is missing" if lacks else ""} from '
            'scratch, on any classes.')
  if found.weights.metadata.get('flags', {}).get('dataset_name'):
    return 'Evaluate on the data of the run.'
  names = 'with the names of these classes'
  if not found.use or not found.use.classes_source:
    names = 'as many as classes, in the order of the outputs'
  elif not found.weights.metadata.get('class_names'):
    names = "with ImageNet's ids, such as n01440764, or names"
  return f'Evaluate on directories {names}.'


def _count(number: int, noun: str) -> str:
  return f'{number:,} {noun}{"" if number == 1 else "s"}'


def _as_json(found: Inspection) -> dict[str, Any]:
  """Returns everything, for `json.dumps`."""
  use = found.use
  return {
      'path': found.path, 'file': found.weights.path, 'format': _format(found),
      'published': found.entry and found.entry[0],
      'arrays': [{'name': array.name, 'shape': array.shape, 'dtype': array.dtype,
                  'role': array.role, **dataclasses.asdict(array.statistics)}
                 for array in found.arrays],
      'metadata': dict(found.weights.metadata),
      'networks': [{'name': fit.network, 'is_exact': fit.is_exact, 'share': fit.share,
                    'num_classes': fit.num_classes, 'channels': fit.channels,
                    'missing': [row.name for row in fit.missing], 'unused': fit.unused}
                   for fit in found.fits],
      'use': use and {'class_names': list(use.class_names), 'image_size': use.image_size,
                      'preprocessing_name': use.preprocessing_name,
                      'transform': use.transform.to_json(), 'note': use.note},
      'commands': {order: {command.purpose: command.words for command in listed}
                   for order, listed in found.commands.items()}}
