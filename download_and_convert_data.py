"""Downloads a dataset and converts it to TF-Slim's TFRecord files.

Or converts a local copy, without the network:

    python download_and_convert_data.py --dataset_name=flowers --dataset_dir=flowers \
      --source=photos
"""

from __future__ import annotations

import sys

from absl import app, flags

from datasets.converters import converters_factory

_DATASET_NAME = flags.DEFINE_string(
    'dataset_name', None, f'One of {", ".join(sorted(converters_factory.CONVERTERS))}.')
_DATASET_DIR = flags.DEFINE_string(
    'dataset_dir', None, 'The folder for the TFRecord files and labels.txt.')
_SOURCE = flags.DEFINE_string(
    'source', None, 'A local folder or archive to convert instead of downloading. For flowers any '
    'folder with a folder of images a class; for cifar10 its binary version; for mnist its four '
    'files.')
_NUM_VALIDATION = flags.DEFINE_integer(
    'num_validation', None, 'Images of the validation split; 350 by default. For flowers.')


def main(argv):
  """Converts, and says what there is now."""
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only. Received: {" ".join(argv[1:])}.')
  try:
    _convert()
  except (ValueError, OSError) as error:
    print(f'Error: {error}', file=sys.stderr)
    sys.exit(1)


def _convert():
  name, dataset_dir = _DATASET_NAME.value, _DATASET_DIR.value
  if not name or not dataset_dir:
    raise ValueError('Expected --dataset_name and --dataset_dir. '
                     f'Received: --dataset_name={name or ""} --dataset_dir={dataset_dir or ""}.')
  options = {}
  if _NUM_VALIDATION.value is not None:
    if name != 'flowers':
      raise ValueError(f'Expected --num_validation with flowers only; {name} has its own test '
                       f'split. Received: {_NUM_VALIDATION.value}.')
    options['num_validation'] = _NUM_VALIDATION.value
  written = converters_factory.convert(name, dataset_dir, source=_SOURCE.value, **options)
  if written:
    print(f'Wrote {name} to {dataset_dir}. Use it with --dataset_name={name} '
          f'--dataset_dir={dataset_dir}.')
  else:
    print(f'All files of {name} are in {dataset_dir} already; nothing was done.')


if __name__ == '__main__':
  app.run(main)
