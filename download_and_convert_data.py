"""Downloads a dataset and converts it to TF-Slim's TFRecord files.

Or converts a local copy, without the network:

    python download_and_convert_data.py --dataset_name=flowers --dataset_dir=flowers \
      --source=photos
"""

from __future__ import annotations

import command_line  # Before TensorFlow: it quiets it.

# isort: split
from absl import flags

import path_flags
from datasets.converters import converters_factory

FLAGS = flags.FLAGS

flags.DEFINE_string(
    'dataset_name', None, f'One of {", ".join(sorted(converters_factory.CONVERTERS))}.')
path_flags.define_path(
    'dataset_dir', None, 'The folder for the TFRecord files and labels.txt.', is_written=True)
path_flags.define_path(
    'source', None, 'A local folder or archive to convert instead of downloading. For flowers any '
    'folder with a folder of images a class; for cifar10 its binary version; for mnist its four '
    'files.')
flags.DEFINE_integer(
    'num_validation', None, 'Images of the validation split; 350 by default. For flowers.')


def main() -> None:
  """Converts, and says what there is now."""
  name, dataset_dir = FLAGS.dataset_name, FLAGS.dataset_dir
  if not name or not dataset_dir:
    raise ValueError('Expected --dataset_name and --dataset_dir. '
                     f'Received: --dataset_name={name or ""} --dataset_dir={dataset_dir or ""}.')
  options = {}
  if FLAGS.num_validation is not None:
    if name != 'flowers':
      raise ValueError(f'Expected --num_validation with flowers only; {name} has its own test '
                       f'split. Received: {FLAGS.num_validation}.')
    options['num_validation'] = FLAGS.num_validation
  written = converters_factory.convert(name, dataset_dir, source=FLAGS.source, **options)
  if written:
    print(f'Wrote {name} to {dataset_dir}. Use it with --dataset_name={name} '
          f'--dataset_dir={dataset_dir}.')
  else:
    print(f'All files of {name} are in {dataset_dir} already; nothing was done.')


if __name__ == '__main__':
  command_line.run(main)
