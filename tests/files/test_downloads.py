"""Downloads from a server that disconnects, lies or is absent; and by two processes at once."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from files.downloads import Resource, digest_of, download

_CONTENT = np.random.default_rng(0).bytes(300_000)
_DIGESTS = {kind: (kind, getattr(hashlib, kind)(_CONTENT).hexdigest())
            for kind in ('md5', 'sha1', 'sha256')}
_DIGESTS['sha256-prefix'] = ('sha256-prefix', _DIGESTS['sha256'][1][:8])


def _resource(address, **known):
  known = known or {'size': len(_CONTENT), 'digest': _DIGESTS['sha256']}
  return Resource(f'{address}/data.bin', **known)


def _part(resource, folder):
  """Where the bytes from the first address are collected."""
  digits = hashlib.sha256(resource.url.encode()).hexdigest()[:8]
  return folder / f'{resource.filename}.{digits}.part'


def _download(resource, folder, **arguments):
  return download(resource, folder, pause_seconds=0, **arguments)


# Known facts about the file, from none to all.
_KNOWN = {
  'size and digest': {'size': len(_CONTENT), 'digest': _DIGESTS['md5']},
  'size': {'size': len(_CONTENT)},
  'head': {'head': _CONTENT[:4]},
  **{kind: {'digest': digest} for kind, digest in _DIGESTS.items()},
}


@pytest.mark.parametrize('known', _KNOWN)
def test_download(serve, tmp_path, known):
  address, asked = serve(_CONTENT)
  for _ in range(2):
    path = _download(_resource(address, **_KNOWN[known]), tmp_path / 'new' / 'folder')
    assert path == tmp_path / 'new' / 'folder' / 'data.bin'
    assert path.read_bytes() == _CONTENT
    assert os.listdir(path.parent) == ['data.bin']
  assert asked == [0]


@pytest.mark.parametrize('known', _KNOWN)
def test_broken_connection_is_resumed(serve, tmp_path, known):
  address, asked = serve(_CONTENT, cuts=[100_000, 50_000])
  resource = _resource(address, **_KNOWN[known])
  assert _download(resource, tmp_path).read_bytes() == _CONTENT
  assert asked == [0, 100_000, 150_000]


@pytest.mark.parametrize('known', _KNOWN)
@pytest.mark.parametrize('arrived', [120_000, len(_CONTENT)])
def test_killed_download_is_resumed_by_the_next_run(serve, tmp_path, known, arrived):
  # The last case is between the last byte and the renaming.
  address, asked = serve(_CONTENT)
  resource = _resource(address, **_KNOWN[known])
  _part(resource, tmp_path).write_bytes(_CONTENT[:arrived])
  (tmp_path / 'data.bin.lock').touch()
  assert _download(resource, tmp_path).read_bytes() == _CONTENT
  assert asked in ([], [arrived])
  assert os.listdir(tmp_path) == ['data.bin']


def test_part_of_another_file_is_replaced(serve, tmp_path):
  address, _ = serve(_CONTENT)
  resource = _resource(address, head=_CONTENT[:4])
  _part(resource, tmp_path).write_bytes(_CONTENT + b'more')
  assert _download(resource, tmp_path).read_bytes() == _CONTENT


def test_download_restarts_on_a_server_without_ranges(serve, tmp_path):
  address, _ = serve(_CONTENT, no_ranges=True)
  _part(_resource(address), tmp_path).write_bytes(_CONTENT[:120_000])
  assert _download(_resource(address), tmp_path).read_bytes() == _CONTENT


def test_server_without_content_length(serve, tmp_path):
  address, _ = serve(_CONTENT, no_length=True)
  assert _download(_resource(address, head=_CONTENT[:4]), tmp_path).read_bytes() == _CONTENT


@pytest.mark.parametrize('known', _KNOWN)
def test_unexpected_content_is_rejected(serve, tmp_path, known):
  address, _ = serve(b'<html>sign in' + _CONTENT)
  resource = _resource(address, **_KNOWN[known])
  with pytest.raises(ValueError, match=r'http.+ Do this\.') as error:
    _download(resource, tmp_path, advice='Do this.')
  assert '--source' not in str(error.value)
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('kind', _DIGESTS)
def test_wrong_digest_is_rejected(serve, tmp_path, kind):
  address, _ = serve(_CONTENT[:-1] + bytes([_CONTENT[-1] ^ 1]))
  with pytest.raises(ValueError, match=rf'{kind} {_DIGESTS[kind][1]} '):
    _download(_resource(address, digest=_DIGESTS[kind]), tmp_path)
  assert os.listdir(tmp_path) == []


def test_wrong_size_is_rejected(serve, tmp_path):
  for size in (len(_CONTENT) - 1, len(_CONTENT) + 1):
    address, _ = serve(_CONTENT)
    with pytest.raises((ValueError, OSError), match=f'{size} bytes|{len(_CONTENT)} of {size}'):
      _download(_resource(address, size=size), tmp_path / str(size))
    assert not (tmp_path / str(size) / 'data.bin').exists()


def test_servers_digest_is_used_if_none_is_published(serve, tmp_path):
  md5 = base64.b64encode(hashlib.md5(_CONTENT).digest()).decode()
  headers = {'x-goog-hash': f'crc32c=AAAAAA==,md5={md5}'}
  address, _ = serve(_CONTENT, headers=headers)
  resource = _resource(address, head=_CONTENT[:4])
  assert _download(resource, tmp_path / 'sound').read_bytes() == _CONTENT
  address, _ = serve(_CONTENT[:-1] + b'x', headers=headers)
  with pytest.raises(ValueError, match=f'md5 {_DIGESTS["md5"][1]} '):
    _download(_resource(address, head=_CONTENT[:4]), tmp_path / 'damaged')
  # A published digest takes precedence.
  address, _ = serve(_CONTENT, headers={'x-goog-hash': 'md5=AAAA'})
  assert _download(_resource(address, digest=_DIGESTS['sha256']), tmp_path / 'published')


def test_partial_download_is_kept_after_giving_up(serve, tmp_path):
  address, asked = serve(_CONTENT, cuts=[100_000, 0, 0, 0, 0, 0])
  part = _part(_resource(address), tmp_path)
  with pytest.raises(OSError, match=f'100000 of 300000 bytes .+{part.name}'):
    _download(_resource(address), tmp_path, attempts=3)
  assert len(asked) == 4
  assert part.read_bytes() == _CONTENT[:100_000]


@pytest.mark.parametrize(('status', 'requests'), [(404, 1), (403, 1), (503, 3)])
def test_http_errors(serve, tmp_path, status, requests):
  address, asked = serve(_CONTENT, status=status)
  with pytest.raises(OSError, match=rf'http.+{status}.+\. Do this\.'):
    _download(_resource(address), tmp_path, advice='Do this.', attempts=3)
  assert asked == [0] * requests


def _closed_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


@pytest.mark.parametrize(('host', 'reason'), [
  ('127.0.0.1', 'refused'), ('no-such-host.invalid', 'name|Name|resolution')])
def test_offline_error_names_address_and_place(tmp_path, monkeypatch, host, reason):
  monkeypatch.setenv('no_proxy', '*')
  where = f'{host}:{_closed_port()}'
  with pytest.raises(OSError, match=rf'http://{where}/data.bin.* {where} .*({reason}).*\. '
                     r'Put it there\.'):
    # There is no pause, which would time out.
    download(Resource(f'http://{where}/data.bin'), tmp_path, advice='Put it there.',
             pause_seconds=3600)
  assert os.listdir(tmp_path) == []


def test_damaged_copy_is_downloaded_again(serve, tmp_path):
  (tmp_path / 'data.bin').write_bytes(b'x' * len(_CONTENT))
  address, _ = serve(_CONTENT)
  assert _download(_resource(address), tmp_path).read_bytes() == _CONTENT


def test_full_disk(serve, tmp_path):
  address, _ = serve(_CONTENT)
  with pytest.raises(OSError, match=f'{2**60} bytes'):
    _download(_resource(address, size=2**60), tmp_path)


def test_concurrent_processes_download_once(serve, tmp_path):
  address, asked = serve(_CONTENT, cuts=[1000] * 50)
  program = textwrap.dedent(f"""
    from files import downloads
    downloads.download(downloads.Resource({address!r} + '/data.bin', {len(_CONTENT)}),
                       {str(tmp_path)!r}, pause_seconds=0.001)
  """)
  processes = [subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True)
               for _ in range(4)]
  told = [process.communicate(timeout=60)[0] for process in processes]
  assert [process.returncode for process in processes] == [0] * 4
  assert all(text == '' or str(tmp_path / 'data.bin') in text for text in told)
  assert all(text.count('\n') <= 1 for text in told)
  assert asked == [1000 * i for i in range(51)]  # One of them downloaded.
  assert os.listdir(tmp_path) == ['data.bin']
  assert (tmp_path / 'data.bin').read_bytes() == _CONTENT


def test_killed_before_the_renaming(serve, tmp_path):
  address, asked = serve(_CONTENT)
  program = textwrap.dedent(f"""
    import os, signal
    from files import downloads
    downloads.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
    downloads.download(downloads.Resource({address!r} + '/data.bin', head={_CONTENT[:4]!r}),
                       {str(tmp_path)!r})
  """)
  killed = subprocess.run([sys.executable, '-c', program], check=False)
  assert killed.returncode == -signal.SIGKILL
  assert not (tmp_path / 'data.bin').exists()
  resource = _resource(address, head=_CONTENT[:4])
  assert _download(resource, tmp_path).read_bytes() == _CONTENT
  assert asked == [0, len(_CONTENT)]
  assert os.listdir(tmp_path) == ['data.bin']


def _mirrored(*addresses, **known):
  """A file with several addresses."""
  first, *others = (_resource(address, **known) for address in addresses)
  return first._replace(mirrors=tuple(others))


# How the first address fails, and what is printed of it.
_FAILURES = {
  '403': ({'status': 403}, '403'), '404': ({'status': 404}, '404'), '503': ({'status': 503}, '503'),
  'damaged': ({'content': _CONTENT[:-1] + b'!'}, _DIGESTS['sha256'][1]),
  'short': ({'content': _CONTENT[:-9], 'no_length': True},
            _DIGESTS['sha256'][1]),
  'long': ({'content': _CONTENT + b'more'}, f'{len(_CONTENT)} bytes'),
  'another': ({'content': b'<html>sign in</html>'}, _DIGESTS['sha256'][1]),
}


@pytest.mark.parametrize('failure', _FAILURES)
def test_next_address(serve, tmp_path, capsys, failure):
  behaviour, reason = _FAILURES[failure]
  first, _ = serve(**{'content': _CONTENT, **behaviour})
  second, asked = serve(_CONTENT)
  path = _download(_mirrored(first, second), tmp_path, attempts=2)
  assert path.read_bytes() == _CONTENT
  assert asked == [0]
  assert os.listdir(tmp_path) == ['data.bin']
  (line,) = (line for line in capsys.readouterr().out.splitlines() if line)
  for part in (first, second, reason):
    assert part in line


def test_next_address_after_no_connection(serve, tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('no_proxy', '*')
  second, _ = serve(_CONTENT)
  for first in (f'http://127.0.0.1:{_closed_port()}', 'http://no-such-host.invalid'):
    resource = _mirrored(first, second)
    # There is no pause, which would time out.
    assert download(resource, tmp_path / first[-5:], pause_seconds=3600).read_bytes() == _CONTENT
    assert first in capsys.readouterr().out


def test_all_addresses_fail(serve, tmp_path):
  addresses = [serve(_CONTENT, status=403)[0], serve(_CONTENT, status=404)[0],
               serve(_CONTENT[::-1])[0]]
  with pytest.raises(OSError, match=r'403.+404.+sha256.+Do this\.$') as error:
    _download(_mirrored(*addresses), tmp_path, advice='Do this.')
  assert all(f'{address}/data.bin' in str(error.value) for address in addresses)
  assert str(error.value).count('Do this.') == 1
  assert '\n' not in str(error.value)
  assert os.listdir(tmp_path) == []


def test_part_is_only_continued_from_its_own_address(serve, tmp_path):
  first, asked_first = serve(_CONTENT, cuts=[100_000, 0, 0])
  second, asked_second = serve(_CONTENT, cuts=[50_000, 0, 0])
  resource = _mirrored(first, second)
  with pytest.raises(OSError, match='100000 of .+50000 of '):
    _download(resource, tmp_path, attempts=2)
  assert _part(resource, tmp_path).read_bytes() == _CONTENT[:100_000]
  assert _part(resource.mirrors[0], tmp_path).read_bytes() == _CONTENT[:50_000]
  assert _download(resource, tmp_path).read_bytes() == _CONTENT
  assert asked_first == [0, 100_000, 100_000, 100_000]
  assert asked_second == [0, 50_000, 50_000]
  assert os.listdir(tmp_path) == ['data.bin']


def test_mirror_in_another_form(serve, tmp_path):
  first, asked = serve(b'', status=403)
  second, _ = serve(b'PK other form')
  resource = _resource(first)._replace(
    mirrors=(Resource(f'{second}/data.bin', head=b'PK', name='other.zip'),))
  for _ in range(2):
    assert _download(resource, tmp_path) == tmp_path / 'other.zip'
  assert asked == [0]


def test_full_disk_is_no_reason_for_another_address(serve, tmp_path):
  first, _ = serve(_CONTENT)
  second, asked = serve(_CONTENT)
  with pytest.raises(OSError, match=f'{2**60} bytes'):
    _download(_mirrored(first, second, size=2**60), tmp_path)
  assert asked == []


def test_digest_of(tmp_path):
  (tmp_path / 'file').write_bytes(_CONTENT)
  for kind in ('md5', 'sha1', 'sha256'):
    assert digest_of(tmp_path / 'file', kind) == _DIGESTS[kind][1]
