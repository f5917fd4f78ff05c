"""Training behind a frozen trunk: whether its features are kept, where, and their computation."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence

from datasets.cache import stamp
from datasets.dataset import Dataset
from files.folders import cache_folder
from nets import cut
from nets.network import Network
from training import features
from training.inputs import Inputs

MODES = ('auto', 'off', 'memory', 'disk')
_IMAGES = 'cut/images:0'
_BATCH = 32
_PREPROCESSING = pathlib.Path(__file__).parents[1] / 'preprocessing'


@dataclasses.dataclass(frozen=True)
class FeatureCache:
  """Where the features of a frozen trunk are kept.

  Attributes:
    place: 'off', 'memory' or 'disk'.
    why: the reason, to be shown.
    trunk, head, boundary: the network in two parts; see `nets.cut`.
  """
  place: str
  why: str
  trunk: cut.Trunk
  head: cut.Head
  boundary: tuple[cut.Boundary, ...]

  def fill(self, inputs: Inputs, *, is_training: bool, seed: int, show: Callable) -> Inputs:
    """Computes what is not known yet of a split's features.

    Args:
      inputs: the split.
      is_training: whether its views are those of training, or the one of an evaluation.
      seed: the run's.
      show: shows the progress; see `features.fill`.

    Returns:
      The same split, of which batches have features in place of images.
    """
    views = inputs.num_views if is_training else 0
    num_rows = inputs.dataset.num_examples * max(views, 1)
    what = f'features of the split {inputs.dataset.split_name!r}' + (
        f' in {views} views' if views else '')

    def complete(store: features.Store) -> None:
      if store.done < num_rows:
        print(f'Computing {num_rows - store.done:,} of {num_rows:,} {what}.', flush=True)
      else:
        print(f'Found all {num_rows:,} {what} in {store.folder}.', flush=True)
      features.fill(store, lambda start: inputs.view_batches(
          batch_size=_BATCH, seed=seed, start=start, is_training=is_training), self.trunk,
          show=show)

    if self.place == 'disk':
      folder = cache_folder() / 'features' / self._key(inputs, views, seed)
      with features.on_disk(folder, self.boundary, num_rows) as store:
        complete(store)
    else:
      store = features.in_memory(self.boundary, num_rows)
      complete(store)
    return dataclasses.replace(inputs, gather=store.gather(inputs.dataset, views=max(views, 1)))

  def _key(self, inputs: Inputs, views: int, seed: int) -> str:
    """Names all that the features of a split depend on."""
    code = hashlib.sha256()
    for path in sorted(_PREPROCESSING.glob('*.py')):
      code.update(path.read_bytes())
    return features.key_of({
        'trunk': self.trunk.digest, 'preprocessing': [inputs.preprocessing_name, code.hexdigest()],
        'image_size': inputs.image_size, 'channels': inputs.channels, 'views': views,
        'seed': seed if views else None, 'bad_images': sorted(inputs.bad_images),
        'data': _state_of(inputs.dataset)}, self.trunk.variables)


def plan(mode: str, network: Network, image_shape: Sequence[int], *, num_views: int | None,
         num_training: int, num_validation: int, epochs: float | None) -> FeatureCache:
  """Decides whether features are kept, and cuts the network.

  Args:
    mode: one of `MODES`; only 'auto' leaves a choice.
    network: built for training.
    image_shape: [height, width, channels].
    num_views: how often each image is augmented; 0 not at all, None anew in every epoch.
    num_training, num_validation: examples of the splits.
    epochs: of the whole run; None without an end.

  Raises:
    ValueError: if they are to be kept where nothing stays the same.
  """
  trunk, head, boundary = cut.cut(network, image_shape)

  def decided(place: str, why: str) -> FeatureCache:
    return FeatureCache(place, why, trunk, head, boundary)

  if mode == 'off':
    return decided('off', 'as --cache_features says')
  reason = None
  if any(tensor.name == _IMAGES for tensor in boundary):
    reason = ('what is trained, or random, begins with the first layer, so that nothing can be '
              'computed ahead; see --trainable_scopes')
  elif num_views is None:
    reason = ('images are augmented anew in every epoch; with --augmentations_per_image=K the '
              'frozen layers would run K times for an image (0: once, without augmentation), and '
              'not in every epoch')
  if reason and mode != 'auto':
    raise ValueError(f'--cache_features={mode}: {reason}. Or set --cache_features=off.')
  if reason:
    return decided('off', reason)
  num_rows = num_training * max(num_views, 1) + num_validation
  folder = cache_folder() / 'features'
  if mode != 'auto':
    return decided(mode, 'as --cache_features says')
  if epochs is not None and epochs <= max(num_views, 1):
    return decided('off', f'no view of an image comes twice in {epochs:g} epochs')
  return decided(*features.choose(boundary, num_rows, folder))


def _state_of(dataset: Dataset) -> list:
  """What changes when any example of a split does."""
  if dataset.examples.files:
    content = [stamp(path) for path in dict.fromkeys(dataset.examples.files)]
  else:  # They lie in memory.
    digest = hashlib.sha256()
    for example in dataset.epoch(0).as_numpy_iterator():
      digest.update(example['image'])
    content = digest.hexdigest()
  return [dataset.fingerprint, dataset.channels, content]
