"""Exports a trained network as a SavedModel, a TensorFlow Lite model or a frozen graph.

    python export_model.py --checkpoint_path=run --output_path=flowers         # a SavedModel
    python export_model.py --checkpoint_path=run --output_path=flowers.tflite
    python export_model.py --checkpoint_path=run --output_path=flowers.pb      # a frozen graph

All take float32 images that are prepared already, and give `logits` and `probabilities`. The
SavedModel has the signature `serving_bytes` besides, which takes image files and prepares them as
an evaluation does. What the network is, its inputs and its classes lies in the folder as
`model.json` and `labels.txt`, or beside the file as `flowers.pb.json` and `flowers.pb.labels.txt`.

Every export computes in float32. It is run before it is kept: its logits must be the network's.
"""

from __future__ import annotations

import os

import command_line  # Before TensorFlow: it quiets it.

# isort: split
from absl import flags

import head_flags
import inference_flags
import path_flags
from files import plain_paths
from slim_zoo.export import exporter, targets
from slim_zoo.export.model import Model
from slim_zoo.training import distribution, metadata

FLAGS = flags.FLAGS

inference_flags.define_model_flags()
inference_flags.define_labels_flag()
path_flags.define_path('output_path', None, 'The folder of a SavedModel, or a .tflite or .pb file.',
                       is_written=True)
flags.DEFINE_integer('image_size', None, "Height and width; by default as it was trained, or the "
                     "network's.", lower_bound=1)
# Of what is known about a checkpoint, what an export says as well.
_KEPT = ('labels_offset', 'step', 'dataset')


def main() -> int:
  """Exports one network."""
  path = FLAGS.output_path
  if not path:
    raise ValueError('Expected --output_path: a folder for a SavedModel, or a .tflite or .pb '
                     'file. Received: none.')
  exporter.check_free(path)
  distribution.prepare_devices(clone_on_cpu=True)  # GPUs round otherwise, and are not needed.
  classifier = inference_flags.restore_classifier(FLAGS.image_size)
  print(f'Exporting {classifier.path}: {classifier.report.summary()}.', flush=True)
  if classifier.saved.get('flags', {}).get('compute_dtype', 'float32') != 'float32':
    print(f'It was trained in {classifier.saved["flags"]["compute_dtype"]}; exports compute in '
          'float32.')
  difference = exporter.export(
      Model(classifier.network, classifier.image_size, classifier.channels,
            classifier.options['preprocessing_name']),
      path, facts=_facts(classifier), class_names=classifier.class_names)
  print(f'Wrote {path}, a {targets.find(path).name}: {len(classifier.class_names)} classes, '
        f"{classifier.image_size}×{classifier.image_size}. Largest difference from the network's "
        f'logits: {difference:.1e} of the largest logit.')
  if targets.find(path).is_folder and not plain_paths.is_plain(os.path.abspath(path)):
    print('TensorFlow itself cannot load a SavedModel from a path with such characters: copy it '
          'elsewhere to use it.')
  return 0


def _facts(classifier: inference_flags.Classifier) -> dict:
  """Tells where a network came from, and what metadata tell of it."""
  options, saved = classifier.options, classifier.saved
  head = {name: options[name] for name in head_flags.KEPT if options[name]}
  return {
      'model_name': options['model_name'],
      'checkpoint': os.path.abspath(classifier.path),
      'checkpoint_digest': inference_flags.digest_of(classifier.network.variables),
      **{name: saved[name] for name in _KEPT if name in saved}, **({'flags': head} if head else {}),
      'versions': metadata.versions()}


if __name__ == '__main__':
  command_line.run(main)
