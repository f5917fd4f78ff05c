r"""Downloads a dataset and converts it to TF-Slim's TFRecord files.

    python download_and_convert_data.py --dataset_name=flowers \
      --dataset_dir=data

A local copy is converted without the network:

    python download_and_convert_data.py --dataset_name=flowers \
      --dataset_dir=data --source=photos
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.DownloadAndConvert


def main(parsed: Parsed[programs.DownloadAndConvert]) -> None:
  """Converts one dataset, and prints what there is now."""
  from datasets.converters import converters_factory  # Imports TensorFlow.
  config = parsed.config.dataset
  name, dataset_dir = config.dataset_name, config.dataset_dir
  if not name or not dataset_dir:
    raise ValueError('Expected: --dataset_name and --dataset_dir. '
                     f'Received: --dataset_name={name or ""} --dataset_dir={dataset_dir or ""}.')
  more = {}
  if config.num_validation is not None:
    if name != 'flowers':
      raise ValueError(f'--num_validation: expected with flowers only, because the splits of '
                       f'{name} are fixed. Received: {config.num_validation}.')
    more['num_validation'] = config.num_validation
  written = converters_factory.convert(name, dataset_dir, source=config.source, **more)
  if written:
    print(f'Wrote {name} to {dataset_dir}. Use it with --dataset_name={name} '
          f'--dataset_dir={dataset_dir}.')
  else:
    print(f'All files of {name} are in {dataset_dir} already; nothing was done.')


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
