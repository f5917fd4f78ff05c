"""Weights that timm published for torchvision's ResNets and for MobileNets.

Sources: the `default_cfgs` of timm 1.0.31 (models/resnet.py, efficientnet.py and mobilenetv3.py),
and results/results-imagenet.csv in huggingface/pytorch-image-models for the sizes and crops with
which the accuracy was measured. File names contain the first digits of SHA-256s. Copies are on
Hugging Face, in another form whose digests are not published.
"""

from __future__ import annotations

import math

from files.downloads import Resource
from preprocessing import inception, torchvision
from preprocessing.transform import Transform
from slim_zoo.weights.dialects.timm import MOBILENET_V3
from slim_zoo.weights.published_file import PublishedFile, head_of

_RELEASES = 'https://github.com/huggingface/pytorch-image-models/releases/download'

# "ResNet strikes back" (https://arxiv.org/abs/2110.00476): layers, and the digits in the names of
# the files of the recipes A1, A2 and A3.
_RESNETS = (
    (18, 'resnet_v1_18', ('d63eafa0', 'b61bd467', '40c531c8')),
    (34, 'resnet_v1_34', ('46f8f793', '82d47d71', 'a20cabb6')),
    (50, 'resnet50_torchvision', ('14fe96d1', 'a2746f79', '59cae1ef')),
    (101, 'resnet101_torchvision', ('cdcb52a9', '6edb36c7', '1db14157')),
    (152, 'resnet152_torchvision', ('2eee8a7a', 'b4c6978f', '134d4688')),
)
# Image size and crop of each recipe's measurement.
_RECIPES = {'a1': (288, 1.0), 'a2': (288, 1.0), 'a3': (224, 0.95)}

# Name, network, file, interpolation, image size, crop, normalization. The sizes are odd, one more
# than timm's: see `dialects.torchvision.ODD_SIZE`.
_UNIT = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
_IMAGENET = (torchvision.TRANSFORM.mean, torchvision.TRANSFORM.scale)
_INCEPTION = (inception.TRANSFORM.mean, inception.TRANSFORM.scale)
_MOBILENETS = (
    ('mobilenetv1_100.ra4_e3600_r224_in1k', 'mobilenet_v1', '', 256, 0.95, _INCEPTION),
    ('mobilenetv2_050.lamb_in1k', 'mobilenet_v2_050', 'v0.1-weights/mobilenetv2_050-3d30d450', 224,
     0.875, _IMAGENET),
    ('mobilenetv2_100.ra_in1k', 'mobilenet_v2', 'v0.1-weights/mobilenetv2_100_ra-b33bc2c4', 224,
     0.875, _IMAGENET),
    ('mobilenetv2_140.ra_in1k', 'mobilenet_v2_140', 'v0.1-weights/mobilenetv2_140_ra-21a4e913', 224,
     0.875, _IMAGENET),
    ('mobilenetv3_large_100.miil_in21k_ft_in1k', 'mobilenet_v3_large',
     'v0.1-tresnet/mobilenetv3_large_100_1k_miil_78_0-66471c13', 224, 0.875, _UNIT),
    ('mobilenetv3_large_100.ra_in1k', 'mobilenet_v3_large',
     'v0.1-weights/mobilenetv3_large_100_ra-f55367f5', 224, 0.875, _IMAGENET),
    ('mobilenetv3_large_100.ra4_e3600_r224_in1k', 'mobilenet_v3_large', '', 256, 1.0, _INCEPTION),
    ('mobilenetv3_small_100.lamb_in1k', 'mobilenet_v3_small',
     'v0.1-weights/mobilenetv3_small_100_lamb-266a294c', 224, 0.875, _IMAGENET),
)


def _transform(size: int, crop: float, *, padded: int = 0, interpolation: str = 'bicubic',
               normalization=_IMAGENET) -> Transform:
  """The transform of an evaluation; timm rounds down the size to which images are resized."""
  mean, scale = normalization
  return Transform(crop_fraction=(size + padded) / max(size + padded, math.floor(size / crop)),
                   interpolation=interpolation, mean=mean, scale=scale)


def _copy(name: str) -> Resource:
  """The weights on Hugging Face."""
  url = f'https://huggingface.co/timm/{name}/resolve/main/pytorch_model.bin'
  return Resource(url, head=head_of(url), name=f'{name}.bin')


def _resnets() -> dict[str, PublishedFile]:
  files = {}
  for layers, network, digits in _RESNETS:
    for (recipe, (size, crop)), prefix in zip(_RECIPES.items(), digits, strict=True):
      name = f'resnet{layers}.{recipe}_in1k'
      files[name] = PublishedFile(
          network, f'{_RELEASES}/v0.1-rsb-weights/resnet{layers}_{recipe}_0-{prefix}.pth',
          mirrors=(_copy(name),), digest=('sha256-prefix', prefix),
          transform=_transform(size, crop), image_size=size)
  return files


def _mobilenets() -> dict[str, PublishedFile]:
  files = {}
  for name, network, file, size, crop, normalization in _MOBILENETS:
    copy = _copy(name)
    files[name] = PublishedFile(
        network, f'{_RELEASES}/{file}.pth' if file else copy.url, name='' if file else copy.name,
        mirrors=(copy,) if file else (),
        digest=('sha256-prefix', file.rpartition('-')[2]) if file else None,
        dialect=MOBILENET_V3 if network.startswith('mobilenet_v3') else None,
        transform=_transform(size, crop, padded=1, normalization=normalization,
                             interpolation='bilinear' if 'miil' in name else 'bicubic'),
        image_size=size + 1)
  return files


# Under timm's names, with `_` for `.`.
TIMM_FILES = {f'timm_{name.replace(".", "_")}': file
              for name, file in (_resnets() | _mobilenets()).items()}
