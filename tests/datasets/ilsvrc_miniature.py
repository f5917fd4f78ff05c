"""ILSVRC 2012 in its own layouts, but with few images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from datasets import imagenet

IDS = list(imagenet.numbers_of_ids())
KIT = 'ILSVRC2012_devkit_t12/data'


def jpeg(value: int, *, mode: str = 'RGB', kind: str = 'JPEG') -> bytes:
  """An image of 6 × 8 pixels; each value has other bytes."""
  buffer = io.BytesIO()
  pixels = np.random.default_rng(value).integers(0, 256, (6, 8, len(mode)), np.uint8).squeeze()
  Image.fromarray(pixels, mode=mode).save(buffer, kind)
  return buffer.getvalue()


def training(per_class: int = 1) -> dict[str, dict[str, bytes]]:
  """Images for each class; one is a PNG, one is in CMYK, one is gray."""
  odd = {IDS[3]: {'kind': 'PNG'}, IDS[5]: {'mode': 'CMYK'}, IDS[7]: {'mode': 'L'}}
  return {wnid: {f'{wnid}_{i}.JPEG': jpeg(number * per_class + i, **odd.get(wnid, {}))
                 for i in range(per_class)} for number, wnid in enumerate(IDS)}


def validation() -> tuple[dict[str, bytes], list[str]]:
  """Images, and their classes in the order of their names: every class once, shuffled."""
  classes = np.random.default_rng(0).permutation(IDS).tolist()
  return {f'ILSVRC2012_val_{i + 1:08d}.JPEG': jpeg(10**6 + i) for i in range(len(IDS))}, classes


def write_tar(path: Path | io.BytesIO, members: Mapping[str, bytes], mode: str = 'w') -> None:
  """Writes a tar archive of files."""
  where = {'fileobj': path} if isinstance(path, io.BytesIO) else {'name': path}
  with tarfile.open(mode=mode, **where) as archive:
    for name, data in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(data)
      archive.addfile(member, io.BytesIO(data))


def tar_of(members: Mapping[str, bytes]) -> bytes:
  """The bytes of a tar archive."""
  buffer = io.BytesIO()
  write_tar(buffer, members)
  return buffer.getvalue()


def kit(classes: Sequence[str]) -> dict[str, bytes]:
  """The development kit's files, whose numbers are in another order than the ids."""
  numbers = {wnid: 1 + number for number, wnid in enumerate(reversed(IDS))}
  table = np.array([(numbers[wnid], wnid) for wnid in IDS],
                   dtype=[('ILSVRC2012_ID', 'O'), ('WNID', 'O')])
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, {'synsets': table})
  return {f'{KIT}/ILSVRC2012_validation_ground_truth.txt':
          ''.join(f'{numbers[wnid]}\n' for wnid in classes).encode(),
          f'{KIT}/meta.mat': buffer.getvalue()}


def annotation(stem: str, boxes: Sequence[tuple[str, int, int, int, int]]) -> bytes:
  """An annotation with boxes (name, xmin, ymin, xmax, ymax) of an image of 100 × 50 pixels."""
  objects = ''.join(
    f'<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>'
    f'<ymax>{y1}</ymax></bndbox></object>' for name, x0, y0, x1, y1 in boxes)
  return (f'<annotation><filename>{stem}</filename><size><width>100</width><height>50</height>'
          f'<depth>3</depth></size>{objects}</annotation>').encode()


def write_archives(folder: Path, images: Mapping[str, Mapping[str, bytes]],
                   val: Mapping[str, bytes], classes: Sequence[str],
                   annotations: Mapping[str, bytes]) -> None:
  """Writes the files that image-net.org has."""
  folder.mkdir()
  write_tar(folder / 'ILSVRC2012_img_train.tar',
            {f'{wnid}.tar': tar_of(members) for wnid, members in images.items()})
  write_tar(folder / 'ILSVRC2012_img_val.tar', val)
  write_tar(folder / 'ILSVRC2012_devkit_t12.tar.gz', kit(classes), 'w:gz')
  write_tar(folder / 'ILSVRC2012_bbox_train_v2.tar.gz', annotations, 'w:gz')


def write_kaggle(folder: Path, images: Mapping[str, Mapping[str, bytes]],
                 val: Mapping[str, bytes], classes: Sequence[str],
                 annotations: Mapping[str, bytes]) -> None:
  """Writes the folders and lists that Kaggle's competition has."""
  for place, members in {
      **{f'Data/CLS-LOC/train/{wnid}': members for wnid, members in images.items()},
      'Data/CLS-LOC/val': val, 'Data/CLS-LOC/test': {'ILSVRC2012_test_00000001.JPEG': b''},
      'Annotations/CLS-LOC/train': annotations}.items():
    for name, data in members.items():
      path = folder / 'ILSVRC' / place / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)
  rows = [f'{Path(name).stem},{wnid} 1 2 3 4 \n' for name, wnid in zip(val, classes, strict=True)]
  (folder / 'LOC_val_solution.csv').write_text('ImageId,PredictionString\n' + ''.join(rows))
