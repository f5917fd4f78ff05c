"""The table of converters, and the function that runs one."""

from __future__ import annotations

from pathlib import Path

from datasets.converters import cifar10, flowers, imagenet, mnist
from files import archives, downloads
from files.errors import unknown_name

# Each module has RESOURCES, filenames() and convert(). One that cannot be downloaded has ADVICE.
CONVERTERS = {'cifar10': cifar10, 'flowers': flowers, 'imagenet': imagenet, 'mnist': mnist}
_ADVICE = 'Or download the dataset by other means and set --source to it.'


def convert(name: str, dataset_dir, *, source=None, **options) -> bool:
  """Makes a dataset's TFRecord files, unless all of them exist.

  Args:
    name: a key of `CONVERTERS`.
    dataset_dir: folder to download to and to write the files to.
    source: a local folder or archive to convert; None downloads the dataset.
    **options: further arguments of the converter.

  Returns:
    Whether anything was written.

  Raises:
    ValueError, OSError: if the dataset is unknown, damaged, or cannot be downloaded.
  """
  if name not in CONVERTERS:
    raise unknown_name('dataset to convert', name, CONVERTERS)
  converter = CONVERTERS[name]
  dataset_dir = Path(dataset_dir)
  if all((dataset_dir / filename).is_file() for filename in converter.filenames()):
    return False
  if not converter.RESOURCES and not (source and Path(source).is_dir()):
    raise ValueError(f'{name} cannot be downloaded here. {converter.ADVICE} Received: '
                     f'--source={source or ""}.')
  if source is not None:
    with archives.unpacked(source, dataset_dir) as folder:
      converter.convert(folder, dataset_dir, **options)
    return True
  downloaded = [downloads.download(resource, dataset_dir, advice=_ADVICE)
                for resource in converter.RESOURCES]
  # One archive, or several files in the same folder.
  with archives.unpacked(downloaded[0] if len(downloaded) == 1 else dataset_dir,
                         dataset_dir) as folder:
    converter.convert(folder, dataset_dir, **options)
  for path in downloaded:
    path.unlink()
  return True
