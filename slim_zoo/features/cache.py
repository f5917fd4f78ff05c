"""Training on top of a frozen trunk: whether and where its features are kept, and filling them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from datasets import content
from files.folders import cache_folder
from nets import cut
from nets.network import Network
from preprocessing import preprocessing_factory
from slim_zoo.features import store as features
from slim_zoo.features.inputs import FeatureInputs
from slim_zoo.features.row_store import RowStore
from slim_zoo.training import distribution
from slim_zoo.training.inputs import Inputs

MODES = ('auto', 'off', 'memory', 'disk')
_IMAGES = 'cut/images:0'
_BATCH = 32
# With a smaller share of a step's arithmetic, `auto` does not keep the features of a trunk.
_LEAST_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class FeatureCache:
  """Where to keep the features of a frozen trunk.

  Attributes:
    place: 'off', 'memory' or 'disk'.
    why: the reason, for the user.
    trunk, head, boundary: the network in two parts, see `nets.cut`; None if the place is 'off'.
  """
  place: str
  why: str
  trunk: cut.Trunk | None = None
  head: cut.Head | None = None
  boundary: tuple[cut.Boundary, ...] | None = None

  def fill(self, inputs: Inputs, *, is_training: bool, seed: int, show: Callable
           ) -> FeatureInputs:
    """Computes the features of a split that are not known yet.

    Args:
      inputs: the split.
      is_training: whether to compute the views of training, or the single one of an evaluation.
      seed: seed of the run.
      show: shows the progress; see `features.fill`.

    Returns:
      The same split with features in place of images.
    """
    trunk, boundary = self.trunk, self.boundary
    views = inputs.num_views if is_training else 0
    if trunk is None or boundary is None or views is None:
      raise ValueError('Expected frozen layers and a number of views. Received: none.')
    num_rows = inputs.dataset.num_examples * max(views, 1)
    what = f'features of the split {inputs.dataset.split_name!r}' + (
        f' in {views} views' if views else '')

    def complete(store: RowStore) -> None:
      if store.done < num_rows:
        print(f'Computing {num_rows - store.done:,} of {num_rows:,} {what}.', flush=True)
      else:
        print(f'Found all {num_rows:,} {what} in {store.folder}.', flush=True)
      features.fill(store, lambda start: inputs.view_batches(
          batch_size=_BATCH, seed=seed, start=start, is_training=is_training), trunk, show=show)

    if self.place == 'disk':
      folder = cache_folder() / 'features' / _key(trunk, inputs, views=views, seed=seed)
      with features.on_disk(folder, boundary, num_rows) as store:
        complete(store)
    else:
      store = features.in_memory(boundary, num_rows)
      complete(store)
    return FeatureInputs(inputs.dataset, inputs.label_map, inputs.bad_images, arrays=store.arrays,
                         num_views=max(views, 1), sampling=inputs.sampling,
                         num_outputs=inputs.num_outputs)


def _key(trunk: cut.Trunk, inputs: Inputs, *, views: int, seed: int) -> str:
  """Returns a key for everything that the features of a split depend on."""
  return features.key_of({
      'trunk': trunk.digest, 'on_gpu': distribution.kind() != 'CPU',
      'preprocessing': [inputs.preprocessing_name, inputs.transform.to_json(),
                        preprocessing_factory.code_digest()],
      'image_size': inputs.image_size, 'channels': inputs.channels, 'views': views,
      'augmentation': vars(inputs.augmentation) if views else None,
      'seed': seed if views else None, 'bad_images': sorted(inputs.bad_images),
      'data': [inputs.dataset.fingerprint, inputs.dataset.channels,
               content.digest(inputs.dataset)]}, trunk.variables)


def plan(mode: str, network: Network, image_shape: Sequence[int], *, num_views: int | None,
         num_training: int, num_validation: int, epochs: float | None,
         gives_way: bool = False, needs_images: str = '') -> FeatureCache:
  """Decides whether features are kept, and cuts the network if they are.

  Args:
    mode: one of `MODES`; only 'auto' leaves a choice.
    network: built for training.
    image_shape: [height, width, channels].
    num_views: augmentations of each image; 0 for none, None for a new one in every epoch.
    num_training, num_validation: number of examples in the splits.
    epochs: of the whole run; None if it has no end.
    gives_way: whether a mode becomes 'auto' if nothing is frozen, because it was given for several
      runs.
    needs_images: why each step needs the images themselves; '' if it does not.

  Raises:
    ValueError: if features are to be kept but no layer's output stays the same.
  """
  if mode == 'off':
    return FeatureCache('off', 'as --cache_features says, now or when the run began')
  is_frozen = any(v.trainable and name not in network.trainable
                  for name, v in network.variables.items())
  if is_frozen:
    trunk, head, boundary = cut.cut(network, image_shape)
    is_frozen = all(tensor.name != _IMAGES for tensor in boundary)
  if gives_way and not is_frozen:
    mode = 'auto'
  reason = None
  if not is_frozen:
    reason = ('the first layer is trained or random already, so nothing can be computed ahead; see '
              '--trainable_scopes')
  elif needs_images:
    reason = needs_images
  elif num_views is None:
    reason = ('images are augmented anew in every epoch; with --augmentations_per_image=K the '
              'frozen layers run K times per image (0: once, without augmentation) instead of in '
              'every epoch')
  elif mode == 'auto' and epochs is not None and epochs <= max(num_views, 1):
    reason = f'no view of an image comes twice in {epochs:g} epochs'
  if reason and mode != 'auto':
    raise ValueError(f'--cache_features={mode}: {reason}. Or set --cache_features=off.')
  if reason:
    return FeatureCache('off', reason)
  if mode != 'auto':
    return FeatureCache(mode, 'as --cache_features says, now or when the run began', trunk, head,
                        boundary)
  # The backward pass through what is trained takes about twice its forward pass.
  share = trunk.multiply_adds / (trunk.multiply_adds + 3 * head.multiply_adds)
  if share < _LEAST_SHARE:
    return FeatureCache('off', f'what stays the same is {share:.0%} of the arithmetic of a step, '
                        f'too little for its room; from {_LEAST_SHARE:.0%} on it is kept')
  splits = [num_training * max(num_views or 0, 1), num_validation]
  place, why = features.choose(boundary, splits, cache_folder() / 'features')
  return FeatureCache(place, why, *((trunk, head, boundary) if place != 'off' else ()))
