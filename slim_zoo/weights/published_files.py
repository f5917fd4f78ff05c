"""Weights that others have published for our networks: their addresses, and how to check them.

Sources: for TF-Slim the tables in tensorflow/models' research/slim (README.md, nets/mobilenet_v1.md
and nets/mobilenet/README.md), for Keras `keras.applications`, for torchvision its `Weights` enums,
for Caffe the readme.md of models/bvlc_alexnet. TF-Slim published neither sizes nor digests, Keras
MD5s except for MobileNet V1 and V2, torchvision the first digits of SHA-256s.

Mirrors are other addresses that the publishers themselves have used. TF-Slim's MobileNet V2 has
none: its bucket has answered 403 since April 2025 (tensorflow/models issue 13561). Keras' and
torchvision's MobileNet V2 are elsewhere.
"""

from __future__ import annotations

import dataclasses

from preprocessing import inception, torchvision, vgg
from slim_zoo.weights.published_accuracies import TOP_1_AND_5
from slim_zoo.weights.published_digests import SHA256
from slim_zoo.weights.published_file import PublishedFile
from slim_zoo.weights.published_timm import TIMM_FILES

# The READMEs name http://download.tensorflow.org; this is the same storage with encryption.
_TENSORFLOW = 'https://storage.googleapis.com/download.tensorflow.org/models'
_TENSORFLOW_MIRROR = 'https://download.tensorflow.org/models'
_GOOGLE = 'https://storage.googleapis.com'


def _slim(network: str, url: str, image_size: int, *, preprocessing: str = 'inception',
          classes: int = 1001, folder: str = '') -> PublishedFile:
  digest = SHA256.get(url.rpartition('/')[2])
  mirrors = ((url.replace(_TENSORFLOW, _TENSORFLOW_MIRROR),) if url.startswith(_TENSORFLOW)
             else ())
  return PublishedFile(
      network, url, mirrors=mirrors, digest=('sha256', digest) if digest else None,
      classes=classes, preprocessing=preprocessing, image_size=image_size, folder=folder)


def _slim_files() -> dict[str, PublishedFile]:
  """TF-Slim's, under the names of its README."""
  files = {}
  for name, network, size in (
      ('inception_v1_2016_08_28', 'inception_v1', 224),
      ('inception_v2_2016_08_28', 'inception_v2', 224),
      ('inception_v3_2016_08_28', 'inception_v3', 299),
      ('inception_v4_2016_09_09', 'inception_v4', 299),
      ('inception_resnet_v2_2016_08_30', 'inception_resnet_v2', 299),
      # Measured so; images of 224 with `vgg` are what the network's own record says.
      ('resnet_v2_50_2017_04_14', 'resnet_v2_50', 299),
      ('resnet_v2_101_2017_04_14', 'resnet_v2_101', 299),
      ('resnet_v2_152_2017_04_14', 'resnet_v2_152', 299),
      ('nasnet-a_mobile_04_10_2017', 'nasnet_mobile', 224),
      ('nasnet-a_large_04_10_2017', 'nasnet_large', 331),
      ('pnasnet-5_mobile_2017_12_13', 'pnasnet_mobile', 224),
      ('pnasnet-5_large_2017_12_13', 'pnasnet_large', 331)):
    files[name] = _slim(network, f'{_TENSORFLOW}/{name}.tar.gz', size)
  for network in ('resnet_v1_50', 'resnet_v1_101', 'resnet_v1_152', 'vgg_16', 'vgg_19'):
    name = f'{network}_2016_08_28'
    files[name] = _slim(network, f'{_TENSORFLOW}/{name}.tar.gz', 224,
                        preprocessing='vgg', classes=1000)
  for network, width, in_url in (
      ('mobilenet_v1', '1.0', '1.0'), ('mobilenet_v1_075', '0.75', '0.75'),
      ('mobilenet_v1_050', '0.50', '0.5'), ('mobilenet_v1_025', '0.25', '0.25')):
    for size in (224, 192, 160, 128):
      files[f'mobilenet_v1_{width}_{size}'] = _slim(
          network, f'{_TENSORFLOW}/mobilenet_v1_2018_02_22/mobilenet_v1_{in_url}_{size}.tgz', size)
  for network, width, sizes in _MOBILENET_V2:
    for size in sizes:
      name = f'mobilenet_v2_{width}_{size}'
      files[name] = _slim(network, f'{_GOOGLE}/mobilenet_v2/checkpoints/{name}.tgz', size)
  for network, kind in (
      ('mobilenet_v3_large', 'large'), ('mobilenet_v3_large_minimalistic', 'large-minimalistic'),
      ('mobilenet_v3_small', 'small'), ('mobilenet_v3_small_minimalistic', 'small-minimalistic')):
    name = f'v3-{kind}_224_1.0_float'
    # Next to it is `pristine`, of the same training without moving averages.
    files[name] = _slim(network, f'{_GOOGLE}/mobilenet_v3/checkpoints/{name}.tgz', 224,
                        folder='ema')
  for network, width in (('mobilenet_edgetpu', '1.0'), ('mobilenet_edgetpu_075', '0.75')):
    name = f'mobilenet_edgetpu_224_{width}'
    # The README names storage.cloud.google.com, which asks everybody to sign in.
    files[name] = _slim(network, f'{_GOOGLE}/mobilenet_edgetpu/checkpoints/{name}.tgz', 224,
                        folder='ema')
  return files


_MOBILENET_V2 = (('mobilenet_v2_140', '1.4', (224,)),
                 ('mobilenet_v2', '1.0', (224, 192, 160, 128, 96)),
                 ('mobilenet_v2_050', '0.5', (224, 192, 160, 128, 96)),
                 ('mobilenet_v2_035', '0.35', (224, 192, 160, 128, 96)))

_KERAS = 'https://storage.googleapis.com/tensorflow/keras-applications'
# Where keras-applications 1.0 found the files, by their folder, with the same MD5s. For MobileNet
# V3 it had other files without the classifier, and its address for MobileNet V2 no longer exists
# (JonathanCMitchell/mobilenet_v2_keras issue 12).
_GITHUB = 'https://github.com'
_KERAS_MIRRORS = {
    'inception_resnet_v2': f'{_GITHUB}/fchollet/deep-learning-models/releases/download/v0.7',
    'inception_v3': f'{_GITHUB}/fchollet/deep-learning-models/releases/download/v0.5',
    'mobilenet': f'{_GITHUB}/fchollet/deep-learning-models/releases/download/v0.6',
    'mobilenet_v3': f'{_GITHUB}/DrSlink/mobilenet_v3_keras/releases/download/v1.0',
    'nasnet': f'{_GITHUB}/titu1994/Keras-NASNet/releases/download/v1.2',
    'resnet': f'{_GITHUB}/keras-team/keras-applications/releases/download/resnet',
    'vgg16': f'{_GITHUB}/fchollet/deep-learning-models/releases/download/v0.1',
    'vgg19': f'{_GITHUB}/fchollet/deep-learning-models/releases/download/v0.1',
}
_KERNELS = 'weights_tf_dim_ordering_tf_kernels'
# Name after `keras_`, network, image size, the addresses and MD5s with and without the classifier.
_KERAS_FILES = (
    ('inception_resnet_v2', 'inception_resnet_v2', 299,
     f'inception_resnet_v2/inception_resnet_v2_{_KERNELS}.h5', 'e693bd0210a403b3192acc6073ad2e96',
     f'inception_resnet_v2/inception_resnet_v2_{_KERNELS}_notop.h5',
     'd19885ff4a710c122648d3b5c3b684e4'),
    ('inception_v3', 'inception_v3', 299,
     f'inception_v3/inception_v3_{_KERNELS}.h5', '9a0d58056eeedaa3f26cb7ebd46da564',
     f'inception_v3/inception_v3_{_KERNELS}_notop.h5', 'bcbd6486424b2319ff4ef7d526e38f63'),
    ('mobilenet_v3_large', 'mobilenet_v3_large', 224,
     'mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float.h5', '59e551e166be033d707958cf9e29a6a7',
     'mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5',
     '07fb09a5933dd0c8eaafa16978110389'),
    ('mobilenet_v3_large_minimalistic', 'mobilenet_v3_large_minimalistic', 224,
     'mobilenet_v3/weights_mobilenet_v3_large_minimalistic_224_1.0_float.h5',
     '675e7b876c45c57e9e63e6d90a36599c',
     'mobilenet_v3/weights_mobilenet_v3_large_minimalistic_224_1.0_float_no_top_v2.h5',
     'ec5221f64a2f6d1ef965a614bdae7973'),
    ('mobilenet_v3_small', 'mobilenet_v3_small', 224,
     'mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float.h5', '8768d4c2e7dee89b9d02b2d03d65d862',
     'mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5',
     'd3e8ec802a04aa4fc771ee12a9a9b836'),
    ('mobilenet_v3_small_minimalistic', 'mobilenet_v3_small_minimalistic', 224,
     'mobilenet_v3/weights_mobilenet_v3_small_minimalistic_224_1.0_float.h5',
     '99cd97fb2fcdad2bf028eb838de69e37',
     'mobilenet_v3/weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5',
     'cde8136e733e811080d9fcd8a252f7e4'),
    ('nasnet_large', 'nasnet_large', 331,
     'nasnet/NASNet-large.h5', '11577c9a518f0070763c2b964a382f17',
     'nasnet/NASNet-large-no-top.h5', 'd81d89dc07e6e56530c4e77faddd61b5'),
    ('nasnet_mobile', 'nasnet_mobile', 224,
     'nasnet/NASNet-mobile.h5', '020fb642bf7360b370c678b08e0adf61',
     'nasnet/NASNet-mobile-no-top.h5', '1ed92395b5b598bdda52abe5c0dbfd63'),
    ('resnet50', 'resnet50_keras', 224,
     f'resnet/resnet50_{_KERNELS}.h5', '2cb95161c43110f7111970584f804107',
     f'resnet/resnet50_{_KERNELS}_notop.h5', '4d473c1dd8becc155b73f8504c6f6626'),
    ('resnet101', 'resnet101_keras', 224,
     f'resnet/resnet101_{_KERNELS}.h5', 'f1aeb4b969a6efcfb50fad2f0c20cfc5',
     f'resnet/resnet101_{_KERNELS}_notop.h5', '88cf7a10940856eca736dc7b7e228a21'),
    ('resnet152', 'resnet152_keras', 224,
     f'resnet/resnet152_{_KERNELS}.h5', '100835be76be38e30d865e96f2aaae62',
     f'resnet/resnet152_{_KERNELS}_notop.h5', 'ee4c566cf9a93f14d82f913c2dc6dd0c'),
    # Measured so; 224 is what Keras' function builds by default.
    ('resnet50v2', 'resnet_v2_50', 299,
     f'resnet/resnet50v2_{_KERNELS}.h5', '3ef43a0b657b3be2300d5770ece849e0',
     f'resnet/resnet50v2_{_KERNELS}_notop.h5', 'fac2f116257151a9d068a22e544a4917'),
    ('resnet101v2', 'resnet_v2_101', 299,
     f'resnet/resnet101v2_{_KERNELS}.h5', '6343647c601c52e1368623803854d971',
     f'resnet/resnet101v2_{_KERNELS}_notop.h5', 'c0ed64b8031c3730f411d2eb4eea35b5'),
    ('resnet152v2', 'resnet_v2_152', 299,
     f'resnet/resnet152v2_{_KERNELS}.h5', 'a49b44d1979771252814e80f8ec446f9',
     f'resnet/resnet152v2_{_KERNELS}_notop.h5', 'ed17cf2e0169df9d443503ef94b23b33'),
    ('vgg16', 'vgg_16', 224,
     f'vgg16/vgg16_{_KERNELS}.h5', '64373286793e3c8b2b4e3219cbf3544b',
     f'vgg16/vgg16_{_KERNELS}_notop.h5', '6d6bbae143d832006294945121d1f1fc'),
    ('vgg19', 'vgg_19', 224,
     f'vgg19/vgg19_{_KERNELS}.h5', 'cbe5617147190e668d6c5d5026f83318',
     f'vgg19/vgg19_{_KERNELS}_notop.h5', '253f8cb515780f3b799900260a226db6'),
)


# The first layer is read as for RGB images.
_KERAS_VGG = dataclasses.replace(vgg.KERAS_RESNET, channel_order='rgb')


def _keras(name: str, network: str, size: int, *files: str) -> dict[str, PublishedFile]:
  """Makes two entries; `files` are a path and its MD5 with the classifier, and two without."""
  path, md5, bare_path, bare_md5 = files

  def file(path: str, md5: str, classes: int | None) -> PublishedFile:
    folder, _, name = path.partition('/')
    has_mirror = folder in _KERAS_MIRRORS and not name.endswith('_no_top_v2.h5')
    return PublishedFile(network, f'{_KERAS}/{path}',
                         mirrors=(f'{_KERAS_MIRRORS[folder]}/{name}',) if has_mirror else (),
                         digest=('md5', md5) if md5 else None, classes=classes, image_size=size,
                         transform=_KERAS_VGG if network.startswith('vgg') else None)
  return {f'keras_{name}': file(path, md5, 1000),
          f'keras_{name}_notop': file(bare_path, bare_md5, None)}


def _keras_files() -> dict[str, PublishedFile]:
  """Keras', under the names of its models; `…_notop` without the classifier."""
  files: dict[str, PublishedFile] = {}
  for row in _KERAS_FILES:
    files |= _keras(*row)
  for network, width, text in (
      ('mobilenet_v1', '1.0', '1_0'), ('mobilenet_v1_075', '0.75', '7_5'),
      ('mobilenet_v1_050', '0.50', '5_0'), ('mobilenet_v1_025', '0.25', '2_5')):
    for size in (224, 192, 160, 128):
      path = f'mobilenet/mobilenet_{text}_{size}_tf'
      files |= _keras(f'mobilenet_{width}_{size}', network, size, f'{path}.h5', '',
                      f'{path}_no_top.h5', '')
  for network, width, sizes in _MOBILENET_V2:
    for size in sizes:
      path = f'mobilenet_v2/mobilenet_v2_{_KERNELS}_{width}_{size}'
      files |= _keras(f'mobilenet_v2_{width}_{size}', network, size, f'{path}.h5', '',
                      f'{path}_no_top.h5', '')
  return files


# IMAGENET1K_V2 was measured on images resized to 232, IMAGENET1K_V1 on 256.
_TORCHVISION_V2 = dataclasses.replace(torchvision.TRANSFORM, crop_fraction=224 / 232)
# Inside the network, torchvision's normalization becomes Inception's.
_TORCHVISION_INCEPTION = dataclasses.replace(
    torchvision.TRANSFORM, crop_fraction=299 / 342, mean=inception.TRANSFORM.mean,
    scale=inception.TRANSFORM.scale)

# Name after `torchvision_` (`_v2` is IMAGENET1K_V2, the others are V1), network, file.
_TORCHVISION_FILES = (
    ('alexnet', 'alexnet_torchvision', 'alexnet-owt-7be5be79'),
    ('inception_v3', 'inception_v3', 'inception_v3_google-0cc3c7bd'),
    ('mobilenet_v2', 'mobilenet_v2', 'mobilenet_v2-b0353104'),
    ('mobilenet_v2_v2', 'mobilenet_v2', 'mobilenet_v2-7ebf99e0'),
    ('mobilenet_v3_large', 'mobilenet_v3_large', 'mobilenet_v3_large-8738ca79'),
    ('mobilenet_v3_large_v2', 'mobilenet_v3_large', 'mobilenet_v3_large-5c1a4163'),
    ('mobilenet_v3_small', 'mobilenet_v3_small', 'mobilenet_v3_small-047dcff4'),
    ('resnet18', 'resnet_v1_18', 'resnet18-f37072fd'),
    ('resnet34', 'resnet_v1_34', 'resnet34-b627a593'),
    ('resnet50', 'resnet50_torchvision', 'resnet50-0676ba61'),
    ('resnet50_v2', 'resnet50_torchvision', 'resnet50-11ad3fa6'),
    ('resnet101', 'resnet101_torchvision', 'resnet101-63fe2227'),
    ('resnet101_v2', 'resnet101_torchvision', 'resnet101-cd907fc2'),
    ('resnet152', 'resnet152_torchvision', 'resnet152-394f9c45'),
    ('resnet152_v2', 'resnet152_torchvision', 'resnet152-f82ba261'),
    ('squeezenet1_0', 'squeezenet', 'squeezenet1_0-b66bff10'),
    ('squeezenet1_1', 'squeezenet_1_1', 'squeezenet1_1-b8a52dc0'),
    ('vgg11', 'vgg_a', 'vgg11-8a719046'),
    ('vgg16', 'vgg_16', 'vgg16-397923af'),
    ('vgg19', 'vgg_19', 'vgg19-dcbb9e9d'),
)


def _torchvision_files() -> dict[str, PublishedFile]:
  """torchvision's, under the names of its models."""
  names = {name for name, *_ in _TORCHVISION_FILES}
  transforms = {name: _TORCHVISION_V2 for name in names if name[:-len('_v2')] in names}
  transforms['inception_v3'] = _TORCHVISION_INCEPTION
  return {f'torchvision_{name}': PublishedFile(
      network, f'https://download.pytorch.org/models/{file}.pth',
      digest=('sha256-prefix', file.rpartition('-')[2]),
      transform=transforms.get(name))
          for name, network, file in _TORCHVISION_FILES}


_FILES: dict[str, PublishedFile] = {
    'bvlc_alexnet': PublishedFile(
        'alexnet', 'http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel',
        digest=('sha1', '9116a64c0fbe4459d18f4bb6b56d647b63920377'), preprocessing='caffe',
        image_size=227, channel_order='bgr'),
    'bvlc_reference_caffenet': PublishedFile(
        'caffenet', 'http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel',
        digest=('sha1', '4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46'), preprocessing='caffe',
        image_size=227, channel_order='bgr'),
    **_slim_files(), **_keras_files(), **_torchvision_files(), **TIMM_FILES}
PUBLISHED_FILES: dict[str, PublishedFile] = {
    name: dataclasses.replace(file, top_1=top_1, top_5=top_5)
    for name, file in _FILES.items()
    for top_1, top_5 in [TOP_1_AND_5.get(name, (None, None))]}
