"""Compares evaluation here with that of the original program on the same photos, file to logits.

    python scripts/oracles/compare_geometry.py --original=slim --model_name=mobilenet_v1 \
      --checkpoint_path=mobilenet_v1_1.0_224 --photos=imagenet_sample

Other tests compare networks on the same pixels. Here each side also reads, resizes, crops and
normalizes the photos: ours as the weights say, the original with Pillow or with TensorFlow 1's ops
in a graph. `--original` names the preprocessing; the network is that of `keras.applications`, or
for a .tflite its interpreter. Keras has no EfficientNet-Lite: for `efficientnet_lite` only the
preprocessing is independent.

A Markdown table is printed: top-1 and top-5 of both, the share of photos for which both have the
same most likely class, and the largest difference of the logits and of the pixels. A quantized
.tflite may give probabilities; then those are compared, not the logits.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tabulate
import tensorflow as tf
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import keras_models
from slim_zoo import api
from slim_zoo.weights.dialects import keras as names

_BATCH = 20
_HEADERS = ('weights', 'network', 'image size', 'original', 'photos', 'top-1 here', 'top-5 here',
            'top-1 there', 'top-5 there', 'same top-1', 'logits differ by', 'of their deviation',
            'pixels differ by')
_V1 = tf.compat.v1
Batches = Iterable[np.ndarray]


def pillow_batches(files: list[pathlib.Path], size: int, network: str) -> Batches:
  """Prepares photos with Pillow and Keras' own `preprocess_input`.

  The shorter side becomes 256/224 of the size, and the centre is cropped.
  """
  module = getattr(keras.applications, _module_of(network))

  def pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as opened:
      image = opened.convert('RGB')
    scale = round(size * 256 / 224) / min(image.size)
    image = image.resize([int(side * scale + 1e-6) for side in image.size],
                         Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)), np.float32)

  for start in range(0, len(files), _BATCH):
    batch = np.stack([pixels(path) for path in files[start:start + _BATCH]])
    yield np.asarray(module.preprocess_input(batch))


def _module_of(network: str) -> str:
  return {'MobileNet': 'mobilenet', 'MobileNetV2': 'mobilenet_v2', 'VGG16': 'vgg16',
          'VGG19': 'vgg19', 'InceptionV3': 'inception_v3',
          'InceptionResNetV2': 'inception_resnet_v2'}.get(names.NETWORKS[network].model, 'resnet')


def _slim_pixels(encoded: tf.Tensor, size: int) -> tf.Tensor:
  """Prepares a photo as `preprocess_for_eval` of TF-Slim's `inception_preprocessing`."""
  image = tf.image.convert_image_dtype(tf.image.decode_jpeg(encoded, channels=3), tf.float32)
  image = tf.image.central_crop(image, central_fraction=0.875)
  image = _V1.image.resize_bilinear(image[tf.newaxis], [size, size], align_corners=False)[0]
  return (image - 0.5) * 2.0


def _efficientnet_lite_pixels(encoded: tf.Tensor, size: int) -> tf.Tensor:
  """Prepares a photo as EfficientNet-Lite's `preprocessing.py` and `main.py`."""
  shape = tf.image.extract_jpeg_shape(encoded)
  shorter = tf.cast(tf.minimum(shape[0], shape[1]), tf.float32)
  side = tf.cast(size / (size + 32) * shorter, tf.int32)
  top, left = ((shape[axis] - side + 1) // 2 for axis in (0, 1))
  image = tf.image.decode_and_crop_jpeg(encoded, tf.stack([top, left, side, side]), channels=3)
  image = _V1.image.resize_bilinear(tf.cast(image, tf.float32)[tf.newaxis], [size, size])[0]
  return (image - 127.0) / 128.0


def graph_batches(pixels: Callable) -> Callable[..., Batches]:
  """Makes the function that prepares photos with ops in a graph of TensorFlow 1."""
  def batches(files: list[pathlib.Path], size: int, network: str) -> Batches:
    del network
    with tf.Graph().as_default() as graph:
      encoded = _V1.placeholder(tf.string, [])
      image = pixels(encoded, size)
    session = _V1.Session(graph=graph)
    for start in range(0, len(files), _BATCH):
      yield np.stack([session.run(image, {encoded: path.read_bytes()})
                      for path in files[start:start + _BATCH]])

  return batches


ORIGINALS = {'pillow': pillow_batches, 'slim': graph_batches(_slim_pixels),
             'efficientnet_lite': graph_batches(_efficientnet_lite_pixels)}


def tflite_network(path: str) -> Callable[[np.ndarray], np.ndarray]:
  """Returns the interpreter of a quantized .tflite as a function from images to logits."""
  interpreter = tf.lite.Interpreter(path)
  interpreter.allocate_tensors()
  given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

  def logits(image: np.ndarray) -> np.ndarray:
    scale, zero = given['quantization']
    limits = np.iinfo(given['dtype'])
    numbers = np.clip(np.round(image / scale + zero), limits.min, limits.max)
    interpreter.set_tensor(given['index'], numbers.astype(given['dtype'])[np.newaxis])
    interpreter.invoke()
    scale, zero = made['quantization']
    return (interpreter.get_tensor(made['index'])[0].astype(np.float32) - zero) * scale

  return lambda images: np.stack([logits(image) for image in images])


def original_network(ours: api.Model, path: str) -> Callable[[np.ndarray], np.ndarray]:
  """Returns a function from images to logits.

  It is the interpreter for .tflite, otherwise Keras' network, or ours where Keras has none.
  """
  if path.endswith(('.tflite', '.lite')):
    return tflite_network(path)
  if ours.name not in names.NETWORKS:
    return lambda images: ours(images).numpy()
  known = names.NETWORKS[ours.name]
  shape = (ours.image_size, ours.image_size, 3)
  model = getattr(keras.applications, known.model)(
      weights=None, classes=len(ours.class_names), classifier_activation=None, input_shape=shape,
      **known.arguments)
  if path.endswith('.h5'):
    model.load_weights(path)
  else:
    keras_models.assign(ours.name, model, {name: variable.numpy() for name, variable in
                                           ours.network.variables.items()})
  return lambda images: model(images, training=False).numpy()


def accuracies(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float, float]:
  """Returns the most likely classes, 0 to 999, and top-1 and top-5."""
  background = logits.shape[1] - 1000
  top_5 = np.argsort(-logits, axis=1, kind='stable')[:, :5] - background
  hits = top_5 == labels[:, None]
  return top_5[:, 0], hits[:, 0].mean(), hits.any(axis=1).mean()


def compare(ours: api.Model, path: str, files: list[pathlib.Path], *, original: str) -> list[str]:
  """Compares both programs; returns the row of the table."""
  labels = np.array([int(file.name.split('_')[0]) for file in files])
  network, found, expected, pixels = original_network(ours, path), [], [], 0.0
  for i, theirs in enumerate(ORIGINALS[original](files, ours.image_size, ours.name)):
    images = ours.preprocess(files[i * _BATCH:(i + 1) * _BATCH])
    pixels = max(pixels, float(np.abs(images - theirs).max()))
    found.append(ours(images).numpy())
    expected.append(network(theirs))
  here, there = np.concatenate(found), np.concatenate(expected)
  first, *of_ours = accuracies(here, labels)
  their_first, *of_theirs = accuracies(there, labels)
  if there.min() >= 0 and np.allclose(there.sum(axis=1), 1, atol=0.1):
    here = tf.nn.softmax(here).numpy()
  difference = np.abs(here - there).max()
  return [pathlib.Path(path).name, ours.name, f'{ours.image_size}', original, f'{len(files)}',
          *(f'{value:.4f}' for value in (*of_ours, *of_theirs, (first == their_first).mean())),
          f'{difference:.2g}', f'{difference / there.std():.2g}', f'{pixels:.2g}']


def main() -> None:
  """Prints one row for one set of weights."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--original', required=True, choices=sorted(ORIGINALS))
  parser.add_argument('--model_name', required=True, help='Name of the network.')
  parser.add_argument('--checkpoint_path', required=True, help='The weights, a path.')
  parser.add_argument('--photos', required=True, type=pathlib.Path,
                      help='Folder of photos named after their class, <0 to 999>_<anything>.jpg.')
  parser.add_argument('--image_size', type=int, help="By default the weights', or the network's.")
  arguments = parser.parse_args()
  files = sorted(arguments.photos.glob('*.jpg'))
  if not files:
    parser.error(f'--photos: expected a folder with *.jpg. Received: {arguments.photos}.')
  ours = api.load(arguments.checkpoint_path, model_name=arguments.model_name,
                  image_size=arguments.image_size)
  print(f'Images here: {ours.transform.describe(ours.image_size)}.')
  row = compare(ours, arguments.checkpoint_path, files, original=arguments.original)
  print(tabulate.tabulate([row], _HEADERS, 'github', disable_numparse=True))


if __name__ == '__main__':
  main()
