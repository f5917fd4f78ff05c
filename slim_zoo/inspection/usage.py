"""How weights are used: their classes and images, and where these are known from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import imagenet
from files import downloads
from nets import nets_factory
from preprocessing import preprocessing_factory
from preprocessing import transform as transform_lib
from preprocessing.transform import Transform
from slim_zoo.config.model import Geometry
from slim_zoo.inspection.fits import Fit
from slim_zoo.weights import opening, published, sources, transforms
from slim_zoo.weights.published_file import PublishedFile
from slim_zoo.weights.published_files import PUBLISHED_FILES

BY_DEFAULT = "the network's default, because the file does not say"
_ALGORITHMS = ('md5', 'sha1', 'sha256')


@dataclasses.dataclass(frozen=True)
class Usage:
  """How weights are used.

  Attributes:
    class_names: the names of the outputs; () if they are unknown.
    classes_source: where the names are from; '' if they are unknown.
    image_size: height and width of the images.
    size_source: where the size is from.
    preprocessing_name: the recipe.
    preprocessing_source: where it is from.
    transform: what the recipe does in an evaluation.
    facts: the options that programs have to be given, by name.
    note: what a user must know about the network with these weights; '' for nothing.
  """
  class_names: Sequence[str]
  classes_source: str
  image_size: int
  size_source: str
  preprocessing_name: str
  preprocessing_source: str
  transform: Transform
  facts: Mapping[str, Any]
  note: str


def find(weights: sources.Weights, fit: Fit, entry: tuple[str, PublishedFile] | None) -> Usage:
  """Finds out how weights are used.

  Args:
    weights: from `sources.open_weights`.
    fit: their network.
    entry: from `find_published`.
  """
  net = nets_factory.get_net(fit.network)
  if fit.needs_order:
    weights = dataclasses.replace(weights, channel_order='rgb')
  known = weights.facts(fit.network, opening.shapes_of(fit.network))
  theirs = entry[1].metadata() if entry else {}
  stated = {'metadata': 'as its metadata say', 'published': 'as it was published',
            'file': 'as the file says', 'program': 'as the program does that such files are from',
            'default': BY_DEFAULT}
  # Programs find the facts of a published file by its name only.
  facts = {} if not entry or 'model_name' in known else _facts(entry[1], known)
  known = {**theirs, **known} if facts else known

  def source(key: str) -> str:
    if is_described(weights.metadata) and key in weights.metadata:
      return stated['metadata']
    if theirs.get(key) is not None:
      return stated['published']
    if key not in known:
      return stated['default']
    return stated['file' if key == 'image_size' and key in weights.metadata else 'program']

  name = known.get('preprocessing_name') or net.preprocessing
  names, classes_source = known.get('class_names', ()), 'known'
  if not names:
    names = imagenet.output_names(fit.num_classes or 0) or ()
    classes_source = "unknown, and taken to be ImageNet's" if names else ''
  return Usage(names, classes_source, known.get('image_size') or net.image_size,
               source('image_size'), name, source('preprocessing_name'),
               transforms.settle(known, name, Geometry()), facts, known.get('note', ''))


def is_described(metadata: Mapping[str, Any]) -> bool:
  """Tells whether weights have metadata that a program of this project wrote."""
  return not {'format', 'versions', 'export'}.isdisjoint(metadata)


def _facts(entry: PublishedFile, known: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the options for a published file that has another name now."""
  name = entry.preprocessing or known.get('preprocessing_name') or (
    nets_factory.get_net(entry.network).preprocessing)
  size = entry.image_size or known.get('image_size')
  found = {'preprocessing_name': entry.preprocessing, 'image_size': size}
  if entry.transform:
    size = size or nets_factory.get_net(entry.network).image_size
    own = preprocessing_factory.get_recipe(name).transform
    theirs = transform_lib.from_json(entry.transform.to_json())
    for option in ('resize_mode', 'interpolation'):
      if getattr(own, option) != getattr(theirs, option):
        found[option] = getattr(theirs, option)
    if own.resized(size) != theirs.resized(size):
      found['crop_fraction'] = round(size / theirs.resized(size), 6)
  return {key: value for key, value in found.items() if value is not None}


def find_published(path: str) -> tuple[str, PublishedFile] | None:
  """Finds the published file that a path is: by `zoo:`, by its name, or by its digest.

  Returns:
    Its name in `PUBLISHED_FILES`, and the entry; None for another file.

  Raises:
    OSError: if it cannot be read.
  """
  if path.startswith(published.PREFIX):
    name = path.removeprefix(published.PREFIX)
    return name, PUBLISHED_FILES[name]
  if not os.path.isfile(path):
    return None
  named = published.find_by_filename(path)
  if named is None:
    named = _by_digest(path)
  return next(((name, entry) for name, entry in PUBLISHED_FILES.items() if entry is named), None)


def _by_digest(path: str) -> PublishedFile | None:
  size = os.path.getsize(path)
  # No digest is computed of most files, because no published one has their size.
  candidates = [(entry, source) for entry in PUBLISHED_FILES.values()
                for source in entry.resource.sources
                if source.digest and source.size in (None, size)]
  digests: dict[str, str] = {}
  for entry, source in candidates:
    kind, expected = source.digest or ('', '')
    algorithm = next((known for known in _ALGORITHMS if kind.startswith(known)), 'sha256')
    if algorithm not in digests:
      digests[algorithm] = downloads.digest_of(path, algorithm)
    if digests[algorithm].startswith(expected.lower()):
      return entry
  return None
