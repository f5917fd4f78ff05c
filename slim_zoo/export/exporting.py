"""Exporting a trained network, from the command line to the finished file."""

from __future__ import annotations

import os
from typing import Any

from files import plain_paths
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Export
from slim_zoo.evaluation import classifier
from slim_zoo.export import exporter, targets
from slim_zoo.export.model import Model
from slim_zoo.training import distribution, metadata

# What an export tells of what is known about a checkpoint.
_KEPT = ('labels_offset', 'step', 'dataset')


def export(parsed: Parsed[Export]) -> int:
  """Exports one network; returns an exit code."""
  path = parsed.config.output.output_path
  if not path:
    raise ValueError('Expected: --output_path, a directory for a SavedModel, or a .tflite or .pb '
                     'file. Received: none.')
  exporter.check_free(path)
  distribution.prepare_devices(clone_on_cpu=True)  # GPUs round differently, and are not needed.
  _, found = classifier.restore_classifier(parsed, parsed.config.output.image_size)
  print(f'Exporting {found.path}: {found.report.summary()}.')
  print(f'Images: {found.transform.describe(found.image_size)}.', flush=True)
  dtype = found.known.get('flags', {}).get('compute_dtype', 'float32')
  if dtype != 'float32':
    print(f'It was trained in {dtype}; exports compute in float32.')
  difference = exporter.export(
      Model(found.network, found.image_size, found.channels, found.preprocessing_name,
            found.transform, found.activation), path,
      facts=_facts(found), class_names=found.class_names)
  print(f'Wrote {path}, a {targets.find(path).name}: {len(found.class_names)} classes, '
        f"{found.image_size}×{found.image_size}. Largest difference from the network's logits: "
        f'{difference:.1e} of the largest logit.')
  if targets.find(path).is_folder and not plain_paths.is_plain(os.path.abspath(path)):
    print('TensorFlow itself cannot load a SavedModel from a path with such characters: copy it '
          'elsewhere to use it.')
  return 0


def _facts(found: classifier.Classifier) -> dict[str, Any]:
  """Tells where a network came from, and what is known about it."""
  kept = {name: value for name, value in found.head.kept.items() if value}
  if found.has_several_labels:
    kept['multi_label'] = True
  return {
      'model_name': found.model_name,
      'checkpoint': os.path.abspath(found.path),
      'checkpoint_digest': classifier.digest_of(found.network.variables),
      **{name: found.known[name] for name in _KEPT if name in found.known},
      **({'flags': kept} if kept else {}),
      'versions': metadata.versions()}
