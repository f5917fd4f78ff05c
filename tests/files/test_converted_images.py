"""Images that Pillow converts, compared with what Pillow itself reads in this process."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import textwrap

import numpy as np
import PIL.Image
import pillow_heif
import pytest

from files import converted_images, image_types


@pytest.fixture
def pixels():
  ramp = np.linspace(0, 255, 24 * 16).reshape(24, 16)
  return np.stack([ramp, ramp.T.reshape(24, 16), 255 - ramp], -1).astype(np.uint8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def _save(image: PIL.Image.Image, path, kind: str, **options):
  if kind == 'HEIF':
    pillow_heif.from_pillow(image).save(path, quality=95)
  else:
    image.save(path, kind, **options)
  return str(path)


def _read(path) -> np.ndarray:
  with PIL.Image.open(path) as image:
    return np.asarray(image)


# {name: (format's name in Pillow, format here, mode, suffix, options)}.
_CASES = {
    'TIFF': ('TIFF', 'TIFF', 'RGB', '.tif', {}),
    'compressed TIFF': ('TIFF', 'TIFF', 'RGB', '.TIFF', {'compression': 'tiff_lzw'}),
    'grey TIFF': ('TIFF', 'TIFF', 'L', '.tif', {}),
    'CMYK TIFF': ('TIFF', 'TIFF', 'CMYK', '.tif', {}),
    'AVIF': ('AVIF', 'AVIF', 'RGB', '.avif', {}),
    'JPEG 2000': ('JPEG2000', 'JPEG 2000', 'RGB', '.jp2', {}),
    'PPM': ('PPM', 'PNM', 'RGB', '.ppm', {}),
    'PGM': ('PPM', 'PNM', 'L', '.pgm', {}),
    'HEIC': ('HEIF', 'HEIC', 'RGB', '.heic', {}),
    'no suffix': ('TIFF', 'TIFF', 'RGB', '', {}),
    'TIFF called .jpg': ('TIFF', 'TIFF', 'RGB', '.jpg', {}),
    'AVIF called .png': ('AVIF', 'AVIF', 'RGB', '.png', {}),
    'HEIC called .JPG': ('HEIF', 'HEIC', 'RGB', '.JPG', {}),
}


@pytest.mark.parametrize('case', _CASES)
def test_pixels_are_those_of_pillow(tmp_path, pixels, case):
  kind, name, mode, suffix, options = _CASES[case]
  path = _save(PIL.Image.fromarray(pixels).convert(mode), tmp_path / f'x{suffix}', kind, **options)
  assert image_types.format_of(path) == name
  converted, _, (note,) = converted_images.readable([path])
  assert f'1 {name}' in note
  assert image_types.format_of(converted[0]) == 'PNG'
  if kind == 'HEIF':
    expected = np.asarray(pillow_heif.open_heif(path).to_pillow())
  else:
    with PIL.Image.open(path) as image:
      expected = np.asarray(image.convert('L' if mode == 'L' else 'RGB'))
  np.testing.assert_array_equal(_read(converted[0]), expected)


def test_sixteen_bits(tmp_path):
  values = np.array([[0, 257, 300, 65535]], np.uint16)
  path = _save(PIL.Image.fromarray(values), tmp_path / 'x.tif', 'TIFF')
  (found,), *_ = converted_images.readable([path])
  assert _read(found).tolist() == [[0, 1, 1, 255]]


def test_orientation(tmp_path, pixels):
  image = PIL.Image.fromarray(pixels)
  exif = image.getexif()
  exif[0x0112] = 6
  path = _save(image, tmp_path / 'x.tif', 'TIFF', exif=exif)
  (found,), *_ = converted_images.readable([path])
  np.testing.assert_array_equal(_read(found), np.rot90(pixels, -1))


def test_other_files_are_left_as_they_are(tmp_path, pixels, monkeypatch):
  path = _save(PIL.Image.fromarray(pixels), tmp_path / 'x', 'JPEG')
  (tmp_path / 'y.txt').write_text('P6 is the name of a key.')
  monkeypatch.setattr(subprocess, 'run', None)
  paths = [path, str(tmp_path / 'y.txt'), 'nowhere.jpg', 'nowhere']
  # There is a file of no format.
  assert converted_images.readable(paths) == (paths, set(image_types.SIGNATURES), ())


def test_conversion_is_kept_until_the_file_changes(tmp_path, pixels, monkeypatch):
  path = _save(PIL.Image.fromarray(pixels), tmp_path / 'x.tif', 'TIFF')
  (first,), *_ = converted_images.readable([path])
  with monkeypatch.context() as patch:
    patch.setattr(subprocess, 'run', None)
    assert converted_images.readable([path]).paths == [first]
  _save(PIL.Image.fromarray(pixels[::-1]), path, 'TIFF')
  (second,), *_ = converted_images.readable([path])
  np.testing.assert_array_equal(_read(second), pixels[::-1])


def test_formats_of_many_files_are_kept_until_a_file_changes(tmp_path, pixels, monkeypatch):
  monkeypatch.setattr(converted_images, '_FEW', 2)
  paths = [_save(PIL.Image.fromarray(pixels), tmp_path / 'x.jpg', 'TIFF'),
           _save(PIL.Image.fromarray(pixels), tmp_path / 'y.jpg', 'JPEG')]
  first = converted_images.readable(paths)
  assert first.paths[0] != paths[0] and first.paths[1] == paths[1]
  with monkeypatch.context() as patch:
    patch.setattr(image_types, 'format_of', None)
    assert converted_images.readable(paths) == first
  _save(PIL.Image.fromarray(pixels), paths[1], 'TIFF')
  second = converted_images.readable(paths)
  assert second.paths[0] == first.paths[0] and second.paths[1] != paths[1]


def _bytes_of(pixels, kind) -> bytes:
  buffer = io.BytesIO()
  PIL.Image.fromarray(pixels).save(buffer, kind)
  return buffer.getvalue()


@pytest.mark.parametrize('count', [1, 31, 1100])
def test_every_file_is_counted_while_formats_are_read(tmp_path, monkeypatch, count):
  updates = []

  class Counter(contextlib.nullcontext):
    def __init__(self, total, **unused):
      super().__init__(self)
      assert total == count
      self.update = updates.append

  monkeypatch.setattr(converted_images.progress, 'counter', Counter)
  paths = [str(tmp_path / f'{number}.jpg') for number in range(count)]
  PIL.Image.new('RGB', (4, 4)).save(paths[-1], 'TIFF')
  assert converted_images._read_kinds(paths)[0] == [(count - 1, 'TIFF')]
  assert sum(updates) == count


@pytest.mark.parametrize(('content', 'reason'), [
  (lambda pixels: _bytes_of(pixels, 'TIFF')[:-300], 'truncated'),
  (lambda pixels: b'P6 100000 100000 255\n' + b'x' * 100, 'pixels'),
  (lambda pixels: _bytes_of(pixels.astype(np.float32)[..., 0], 'TIFF'), 'floating-point'),
  (lambda pixels: b'II*\0' + b'\xff' * 50, '')])
def test_files_that_cannot_be_converted_are_named(tmp_path, pixels, content, reason):
  good = _save(PIL.Image.fromarray(pixels), tmp_path / 'good.tif', 'TIFF')
  bad = str(tmp_path / 'bad.tif')
  (tmp_path / 'bad.tif').write_bytes(content(pixels))
  found = converted_images.readable([bad, good])
  assert found.paths[0] == bad and found.paths[1] != good
  assert bad in found.notes[1] and reason in found.notes[1]


@pytest.mark.parametrize('end', ['os.abort()', 'time.sleep(60)'])
def test_reader_that_crashes_or_hangs_costs_one_image(tmp_path, pixels, monkeypatch, end):
  """Another child stands for the libraries' readers: it fails at the second file."""
  (tmp_path / 'files').mkdir()
  (tmp_path / 'files' / 'image_child.py').write_text(textwrap.dedent(f"""
      import json, os, shutil, sys, time
      for path, target in json.load(sys.stdin):
        if path.endswith('1.tif'):
          {end}
        shutil.copy(path, target)
        print('null', flush=True)
      """))
  monkeypatch.setattr(converted_images, '_ROOT', str(tmp_path))
  monkeypatch.setattr(converted_images, '_SECONDS_PER_IMAGE', 1)
  paths = [_save(PIL.Image.fromarray(pixels), tmp_path / f'{i}.tif', 'TIFF') for i in range(3)]
  found = converted_images.readable(paths)
  assert [path == given for path, given in zip(found.paths, paths, strict=True)] == [
    False, True, False]
  assert '1 of 3' in found.notes[1] and paths[1] in found.notes[1]
  assert sorted(os.listdir(tmp_path / 'cache' / 'slim_zoo' / 'images')) == sorted(
    os.path.basename(path) for path in (found.paths[0], found.paths[2]))


def test_heic_without_its_reader_says_what_to_install(tmp_path, pixels, monkeypatch):
  (tmp_path / 'site').mkdir()
  (tmp_path / 'site' / 'sitecustomize.py').write_text(
    'import importlib.util as util\nfound = util.find_spec\n'
    "util.find_spec = lambda name, *rest: None if name == 'pillow_heif' else found(name, *rest)\n")
  monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'site'))
  path = _save(PIL.Image.fromarray(pixels), tmp_path / 'x.heic', 'HEIF')
  found = converted_images.readable([path])
  [note] = found.notes  # Not that it was converted.
  assert found.paths == [path] and '--heic' in note
