"""Images that cannot be decoded: they stop a program, or are skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from datasets import bad_images
from datasets.dataset import Dataset
from slim_zoo.training.workers import ALONE, Workers


def settle(dataset: Dataset, decode: Callable, choice: str, *,
           known: Mapping[str, Sequence[str]] | None = None,
           needs_all_classes: bool = False, workers: Workers = ALONE) -> tuple[str, ...]:
  """Does with images that cannot be decoded what --on_bad_image says.

  Args:
    dataset: a split.
    decode: full decoding of an encoded image; its error makes the image bad.
    choice: 'error' or 'skip'.
    known: the bad images by split, if a run has found them already.
    needs_all_classes: whether no class may lose all of its images, as in training.
    workers: that look for them together.

  Returns:
    The names of the images to skip.

  Raises:
    ValueError: if there are bad images and the choice is 'error', or if too few images are left.
  """
  if known and dataset.split_name in known:
    return tuple(known[dataset.split_name])
  found = dataset.find_bad_images(decode, workers)
  if found and choice == 'error':
    raise ValueError(f'{bad_images.describe(found)}\nRepair or remove them, or skip them with '
                     '--on_bad_image=skip.')
  if found:
    print(f'Skipping, of the split {dataset.split_name!r}: {bad_images.describe(found)}')
  names = tuple(image.name for image in found)
  warning = bad_images.check_rest(dataset, names, needs_all_classes=needs_all_classes)
  if warning:
    print(warning)
  return names
