"""Files that are no weights, or cannot be read, are named, with what to do."""

from __future__ import annotations

import zipfile

import pytest

from slim_zoo.weights import other_formats, sources

_ONNX = b'\x08\x08\x12\x07pytorch\x1a\x032.1:\x80\x02'
_MODULE = b'\x80\x02ctorchvision.models.resnet\nResNet\nq\x00)\x81}(X\x01\x00\x00\x00aK\x00ub.'
_LEGACY = (b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00(X\x10\x00'
           b'\x00\x00protocol_versionq\x01M\xe9\x03X\x0d\x00\x00\x00little_endianq\x02\x88u.')

def _zip(path, **members):
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in members.items():
      archive.writestr(name.replace('__', '/').replace('_pkl', '.pkl'), content)
  return path.read_bytes()


@pytest.mark.parametrize(('name', 'content', 'said'), [
  ('x.onnx', _ONNX, ('ONNX',)), ('x.pb', _ONNX, ('ONNX',)),
  ('x.xml', b'<?xml version="1.0"?>\n<net name="a" version="11">', ('OpenVINO',)),
  ('x.npy', b'<!DOCTYPE html><title>Log in</title>', ('web page', 'Log in')),
  ('x.caffemodel', b'<html>', ('web page',)), ('x.zip', b'<html>', ('web page',)),
  ('x.gguf', b'GGUF\x03', ('GGUF',)), ('x.h5', b'\xff\xd8\xff\xe0', ('image',)),
  ('x.h5', b'', ('empty file',)), ('x.pth', b'PK\x03\x04 and so on', ('cut short',)),
  ('x.h5.gz', b'\x1f\x8b\x08', ('gunzip <',)), ('model.bin', b'\x1f\x8b\x08', ('gunzip <',)),
  ('x.pth', _LEGACY + _MODULE, ('torchvision.models.resnet.ResNet', 'state_dict()'))])
def test_files_are_named_by_content(tmp_path, name, content, said):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(ValueError, match='Received: ') as caught:
    sources.open_weights(str(path))
  assert all(words in str(caught.value) for words in (*said, str(path)))


def test_torch_script_and_whole_modules(tmp_path):
  _zip(tmp_path / 'script.pt', m__data_pkl=_MODULE, m__constants_pkl=b'\x80\x02).',
       m__version=b'3')
  _zip(tmp_path / 'whole.pt', m__data_pkl=_MODULE, m__version=b'3')
  for name, said in (('script.pt', f"torch.jit.load('{tmp_path / 'script.pt'}'"),
                     ('whole.pt', 'If you trust it')):
    with pytest.raises(ValueError, match='Received: ') as caught:
      sources.open_weights(str(tmp_path / name))
    assert said in str(caught.value)
    assert '.state_dict()' in str(caught.value) and 'weights_only=False' not in str(caught.value)


def test_nobody_is_told_to_load_an_attack(tmp_path):
  _zip(tmp_path / 'x.pt', m__data_pkl=b'\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.',
       m__version=b'3')
  with pytest.raises(ValueError, match=r'posix\.system.* Do not load') as caught:
    sources.open_weights(str(tmp_path / 'x.pt'))
  assert 'torch.load' not in str(caught.value)


def test_numbers_of_openvino_are_named_after_the_file_beside_them(tmp_path):
  (tmp_path / 'x.bin').write_bytes(bytes(range(9)))
  assert other_formats.describe(tmp_path / 'x.bin') == ''
  (tmp_path / 'x.xml').write_text('<net name="a" version="11">')
  assert 'OpenVINO' in other_formats.describe(tmp_path / 'x.bin')
  with pytest.raises(ValueError, match='OpenVINO'):
    sources.open_weights(str(tmp_path))


def test_data_of_checkpoints_may_begin_with_anything(tmp_path):
  path = tmp_path / 'model.ckpt-1.data-00000-of-00001'
  path.write_bytes(_ONNX)
  assert other_formats.describe(path) == ''


def test_unfinished_downloads_are_named(tmp_path):
  path = tmp_path / 'x.safetensors.crdownload'
  header = b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'
  path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(20))
  with pytest.raises(ValueError, match='83 of 99 bytes.*suffix .crdownload'):
    sources.open_weights(str(path))


def test_a_missing_file_is_not_taken_for_a_checkpoint(tmp_path):
  (tmp_path / 'resnet18.pth').touch()
  with pytest.raises(ValueError, match='no such file.*resnet18.pth'):
    sources.open_weights(str(tmp_path / 'resnet_18.pth'))
