"""Archives: valid ones are unpacked; nothing is written elsewhere or without a bound."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import subprocess
import sys
import tarfile
import textwrap
import zipfile

import numpy as np
import pytest

from files import archives

_NOISE = np.random.default_rng(0).bytes(100_000)
_COMPRESS = {'': bytes, '.gz': gzip.compress, '.bz2': bz2.compress, '.xz': lzma.compress}


def _member(name, content=b'', **attributes):
  member = tarfile.TarInfo(name)
  member.size = len(content)
  for key, value in attributes.items():
    setattr(member, key, value)
  return member, content


def _tar(path, *members, compress=gzip.compress, tar_format=tarfile.PAX_FORMAT):
  """Writes members as they are, whatever they claim."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w', format=tar_format) as archive:
    for member, content in members:
      buffer.write(member.tobuf(archive.format))
      buffer.write(content + bytes(-len(content) % 512))
    archive.offset = buffer.tell()
  path.write_bytes(compress(buffer.getvalue()))
  return path


def _zip(path, *members):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in members:
      archive.writestr(name, content)
  return path


_FILES = {'a/b.txt': b'1', 'c': _NOISE, './d/./e': b''}


def _contents(folder):
  return {str(path.relative_to(folder)): path.read_bytes()
          for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('kind', ['.zip', *_COMPRESS])
def test_unpacks(tmp_path, kind):
  if kind == '.zip':
    source = _zip(tmp_path / 'a.zip', *_FILES.items())
  else:
    source = _tar(tmp_path / f'a.tar{kind}', _member('.', type=tarfile.DIRTYPE),
                  _member('empty', type=tarfile.DIRTYPE),
                  *(_member(*item) for item in _FILES.items()), compress=_COMPRESS[kind])
  expected = {'a/b.txt': b'1', 'c': _NOISE, 'd/e': b''}
  with archives.unpacked(source, tmp_path / 'scratch') as folder:
    assert _contents(folder) == expected
  assert list((tmp_path / 'scratch').iterdir()) == []
  for _ in range(2):
    folder = archives.unpack(source, tmp_path / 'kept' / 'here')
    assert _contents(folder) == expected
    assert os.listdir(tmp_path / 'kept') == ['here']
    source.unlink(missing_ok=True)  # No longer needed.


def test_tar_with_a_zip_at_its_end_is_read_as_tar(tmp_path):
  inner = _zip(tmp_path / 'inner.zip', ('x', b'1')).read_bytes()
  source = _tar(tmp_path / 'a.tar', _member('inner.zip', inner), compress=bytes)
  assert zipfile.is_zipfile(source)
  assert os.listdir(archives.unpack(source, tmp_path / 'out')) == ['inner.zip']


def test_long_names_and_large_numbers(tmp_path):
  name = 'folder/' * 30 + 'ünïcode' * 10
  for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
    source = _tar(tmp_path / 'a.tgz', _member(name, b'1', mtime=2**40), tar_format=tar_format)
    assert _contents(archives.unpack(source, tmp_path / str(tar_format))) == {name: b'1'}


_LINK = {'type': tarfile.SYMTYPE, 'linkname': '/etc/passwd'}
_ATTACKS = {
  'parent': [_member('../evil', b'x')],
  'parent inside': [_member('a/../../evil', b'x')],
  'absolute': [_member('/evil', b'x')],
  'backslashes': [_member('..\\evil', b'x')],
  'drive': [_member('C:evil', b'x')],
  'parent as a folder': [_member('../evil', type=tarfile.DIRTYPE)],
  'link': [_member('evil', **_LINK)],
  'link to itself': [_member('evil', type=tarfile.SYMTYPE, linkname='evil')],
  'link to a folder, then a file in it': [
    _member('d', type=tarfile.SYMTYPE, linkname='..'), _member('d/evil', b'x')],
  'hard link': [_member('evil', type=tarfile.LNKTYPE, linkname='/etc/passwd')],
  'hard link to a member': [
    _member('a', b'x'), _member('evil', type=tarfile.LNKTYPE, linkname='a')],
  'character device': [_member('evil', type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
  'block device': [_member('evil', type=tarfile.BLKTYPE)],
  'pipe': [_member('evil', type=tarfile.FIFOTYPE)],
  'sparse file': [_member('evil', b'x' * 512, type=tarfile.GNUTYPE_SPARSE)],
  'behind sound files': [_member('a', _NOISE), _member('b', b'1'), _member('evil', **_LINK)],
}


@pytest.mark.parametrize('attack', _ATTACKS)
def test_tar_writes_only_below_its_folder(tmp_path, attack):
  (tmp_path / 'in').mkdir()
  source = _tar(tmp_path / 'a.tgz', *_ATTACKS[attack])
  for unpack in (archives.unpack, lambda *a: archives.unpacked(*a).__enter__()):
    with pytest.raises(archives.ArchiveError, match=r'Expected .+a.tgz.* Received|Received.+a.tgz'):
      unpack(source, tmp_path / 'in' / 'out')
    assert not [path for path in tmp_path.rglob('*') if path.is_file() and path != source]
    assert not list(tmp_path.rglob('evil'))


@pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/evil', '..\\evil'])
def test_zip_writes_only_below_its_folder(tmp_path, name):
  with pytest.raises(archives.ArchiveError, match='a.zip.*evil'):
    archives.unpack(_zip(tmp_path / 'a.zip', (name, b'x')), tmp_path / 'out')
  assert not list(tmp_path.rglob('*evil'))


def test_zip_with_a_link_is_rejected(tmp_path):
  link = zipfile.ZipInfo('evil')
  link.external_attr = 0o120777 << 16
  with pytest.raises(archives.ArchiveError, match="a.zip.*'evil'"):
    archives.unpack(_zip(tmp_path / 'a.zip', (link, b'/etc/passwd')), tmp_path / 'out')


def _header(name, size, kind=tarfile.REGTYPE):
  member = tarfile.TarInfo(name)
  member.size, member.type = size, kind
  return member


_SMALL = 2**20  # Limit for every archive, to keep the test quick.
_ZEROS = bytes(_SMALL // 4)
_BOMBS = {
  'claims': lambda path: _tar(path, (_header('evil', 2**40), b'x')),
  'claims less than nothing': lambda path: _tar(
    path, (_header('evil', -512), b''), _member('a', b'x'), tar_format=tarfile.GNU_FORMAT),
  'files': lambda path: _tar(path, *(_member(f'{i}', _ZEROS) for i in range(6))),
  'one file': lambda path: _tar(path, _member('a', bytes(_SMALL + 1))),
  'empty files': lambda path: _tar(path, *(_member(f'{i}') for i in range(2000))),
  'behind the end': lambda path: _tar(path, _member('a'),
                                      compress=lambda data: gzip.compress(data + 6 * _ZEROS)),
  'a long name': lambda path: _tar(path, (_header('n', 6 * len(_ZEROS), tarfile.GNUTYPE_LONGNAME),
                                          b'x' * 6 * len(_ZEROS)), _member('a')),
  'a long description': lambda path: _tar(path, (_header('p', 2**30, tarfile.XHDTYPE), b'x')),
  'zip': lambda path: _zip(path, *((f'{i}', _ZEROS) for i in range(6))),
}


@pytest.mark.parametrize('bomb', _BOMBS)
def test_bombs_are_rejected(tmp_path, monkeypatch, bomb):
  monkeypatch.setattr(archives, '_ALWAYS_ALLOWED', _SMALL)
  source = _BOMBS[bomb](tmp_path / 'a')
  assert source.stat().st_size < 20_000
  with pytest.raises(archives.ArchiveError, match='Received'):
    archives.unpack(source, tmp_path / 'out')
  assert os.listdir(tmp_path) == ['a']


def test_full_disk(tmp_path, monkeypatch):
  source = _tar(tmp_path / 'a.tgz', _member('a', _NOISE), _member('b', _NOISE))
  size = source.stat().st_size
  usage = type(archives.shutil.disk_usage(tmp_path))
  for free in (size - 1, size + 1):
    monkeypatch.setattr(archives.shutil, 'disk_usage', lambda path, free=free: usage(1, 1, free))
    with pytest.raises(archives.ArchiveError, match=r'a.tgz.*\d{4}'):
      archives.unpack(source, tmp_path / 'out')
    assert os.listdir(tmp_path) == ['a.tgz']


_DAMAGES = {
  'empty': lambda data: b'',
  'cut short': lambda data: data[:len(data) // 2],
  'one byte short': lambda data: data[:-1],
  'zeros': lambda data: bytes(len(data)),
  'one byte changed': lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
  'a page': lambda data: b'<html>sign in</html>',
}


# A plain tar has no checksum of its content, and padding at its end.
@pytest.mark.parametrize(('kind', 'damage'), [
  (kind, damage) for kind in ('.zip', *_COMPRESS) for damage in _DAMAGES
  if kind or 'one byte' not in damage])
def test_damaged_archives_give_one_error(tmp_path, kind, damage):
  if kind == '.zip':
    source = _zip(tmp_path / 'a', *_FILES.items())
  else:
    source = _tar(tmp_path / 'a', *(_member(*item) for item in _FILES.items()),
                  compress=_COMPRESS[kind])
  source.write_bytes(_DAMAGES[damage](source.read_bytes()))
  with pytest.raises(archives.DamagedArchiveError,
                     match=r'Expected.+ Received: \S+/a \(.+\)') as error:
    archives.unpack(source, tmp_path / 'out')
  assert '\n' not in str(error.value)
  assert os.listdir(tmp_path) == ['a']


def test_a_lost_header_is_noticed_without_a_checksum(tmp_path):
  source = _tar(tmp_path / 'a.tar', *(_member(name, b'1') for name in 'abc'), compress=bytes)
  data = bytearray(source.read_bytes())
  data[1024] ^= 1  # The second header.
  source.write_bytes(data)
  with pytest.raises(archives.DamagedArchiveError, match='a.tar'):
    archives.unpack(source, tmp_path / 'out')


@pytest.mark.parametrize('kind', ['', '.gz', '.zip'])
def test_mutations_load_or_give_one_error(tmp_path, kind):
  rng = random.Random(0)
  source = tmp_path / 'a'
  members = [('a/b.txt', b'text ' * 50), ('ü' * 80, b'1'), ('c', b'')]
  if kind == '.zip':
    _zip(source, *members)
  else:
    _tar(source, *(_member(*item) for item in members), compress=_COMPRESS[kind])
  sound = source.read_bytes()
  sound = sound[:len(sound.rstrip(b'\0')) + 600]
  outcomes = set()
  (tmp_path / 'out').mkdir()
  for i in range(200):
    data = bytearray(sound)
    for _ in range(rng.choice((1, 2, 20))):
      data[rng.randrange(len(data))] = rng.randrange(256)
    source.write_bytes(data)
    try:
      archives.unpack(source, tmp_path / 'out' / str(i))
      outcomes.add('unpacked')
    except archives.ArchiveError as error:
      outcomes.add('refused' if str(error).count('\n') == 0 else str(error))
  assert outcomes <= {'unpacked', 'refused'}
  assert 'refused' in outcomes
  assert sorted(os.listdir(tmp_path)) == ['a', 'out']


def test_interrupted_unpacking_can_be_repeated(tmp_path):
  source = _tar(tmp_path / 'a.tgz', *(_member(*item) for item in _FILES.items()))
  program = textwrap.dedent(f"""
    import os, signal
    from files import archives
    archives.os.rename = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
    archives.unpack({str(source)!r}, {str(tmp_path / 'out')!r})
  """)
  assert subprocess.run([sys.executable, '-c', program], check=False).returncode < 0
  assert not (tmp_path / 'out').exists()
  (tmp_path / 'out.part' / 'more').write_bytes(b'1')
  assert len(_contents(archives.unpack(source, tmp_path / 'out'))) == 3
  assert sorted(os.listdir(tmp_path)) == ['a.tgz', 'out']


def test_missing_archive(tmp_path):
  with pytest.raises(FileNotFoundError), archives.unpacked(tmp_path / 'a.tgz', tmp_path):
    pass
  with pytest.raises(FileNotFoundError):
    archives.unpack(tmp_path / 'a.tgz', tmp_path / 'out')
  assert os.listdir(tmp_path) == []


def test_python_without_the_data_filter(tmp_path, monkeypatch):
  source = _tar(tmp_path / 'a.tar.gz', _member('a', b'1'))
  monkeypatch.delattr(tarfile, 'data_filter')
  with pytest.raises(archives.ArchiveError, match='3.10.12'):
    archives.unpack(source, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
