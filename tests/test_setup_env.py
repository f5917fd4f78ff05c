"""The installation, from a local package index."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).parent.parent
_SCRIPTS = _ROOT / 'scripts'
_UV = pathlib.Path(sys.executable).parent / 'uv'


class _Index:
  """A package index: a directory with a page for each package, served on 127.0.0.1."""

  def __init__(self, root: pathlib.Path):
    self.root = root
    self.hashes: dict[str, list[str]] = {}

  def publish(self, name: str, version: str, *, requires: str = '', files: dict | None = None,
              extra: str = '') -> None:
    """Publishes a wheel."""
    info = f'{name}-{version}.dist-info'
    metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
    metadata += f'Provides-Extra: {extra}\n' if extra else ''
    metadata += f'Requires-Dist: {requires}\n' if requires else ''
    contents = {
        **(files or {f'{name}.py': f'VERSION = {version!r}\n'.encode()}),
        f'{info}/METADATA': metadata.encode(),
        f'{info}/WHEEL': b'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n'
                         b'Tag: py3-none-any\n',
    }
    record = ''.join(f'{path},sha256={_record_hash(data)},{len(data)}\n'
                     for path, data in contents.items())
    contents[f'{info}/RECORD'] = f'{record}{info}/RECORD,,\n'.encode()
    folder = self.root / name
    folder.mkdir(exist_ok=True)
    wheel = folder / f'{name}-{version}-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as archive:
      for path, data in contents.items():
        entry = zipfile.ZipInfo(path)
        entry.external_attr = (0o100755 if '/scripts/' in path else 0o100644) << 16
        archive.writestr(entry, data)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    self.hashes[f'{name}=={version}'] = digest
    with open(folder / 'index.html', 'a', encoding='utf-8') as page:
      page.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')

  def line(self, pin: str, condition: str = '') -> str:
    """A line of a lock file."""
    return (f'{pin}{f" ; {condition}" if condition else ""} \\\n'
            f'    --hash=sha256:{self.hashes[pin]}\n')


def _record_hash(data: bytes) -> str:
  return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()


@pytest.fixture
def index(tmp_path):
  """An index with uv, `plugin` and its dependency, each in two versions."""
  root = tmp_path / 'index'
  root.mkdir()
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=root)
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  index = _Index(root)
  index.url = f'http://127.0.0.1:{server.server_port}'
  index.publish('uv', '1.0', files={'uv-1.0.data/scripts/uv': _UV.read_bytes()})
  # Like pytest-cov's coverage[toml]: a pin without the extra does not constrain pip's resolver.
  index.publish('plugin', '1.0', requires='measure[toml]>=1.0')
  index.publish('measure', '1.0', extra='toml')
  index.publish('tester', '1.0')
  yield index
  server.shutdown()
  server.server_close()


@pytest.fixture
def install(index, tmp_path):
  """Runs the script in a separate project: (exit code, output, {package: version})."""
  project = tmp_path / 'project'
  (project / 'scripts').mkdir(parents=True)
  shutil.copy(_SCRIPTS / 'setup_env.sh', project / 'scripts')

  def run(lock: str, *arguments: str):
    (project / 'requirements.lock').write_text(lock)
    environment = {
        'PATH': os.environ['PATH'], 'HOME': str(tmp_path), 'PYTHON': sys.executable,
        'PIP_INDEX_URL': index.url, 'PIP_CONFIG_FILE': os.devnull, 'PIP_NO_CACHE_DIR': '1',
        'UV_NO_CACHE': '1'}
    done = subprocess.run([project / 'scripts' / 'setup_env.sh', *arguments], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    libraries = next((project / '.venv').glob('lib/python*/site-packages'), None)
    installed = [] if libraries is None else libraries.glob('*.dist-info')
    found = dict(path.name.removesuffix('.dist-info').split('-', 1) for path in installed)
    return done.returncode, done.stdout, found

  run.environment = project / '.venv'
  return run


def test_newer_version_is_not_installed(index, install):
  index.publish('plugin', '1.1')
  index.publish('measure', '1.1', extra='toml')
  lock = (index.line('uv==1.0', "extra == 'install'") + index.line('plugin==1.0')
          + index.line('measure==1.0'))
  code, output, found = install(lock)
  assert code == 0, output
  assert (found['plugin'], found['measure']) == ('1.0', '1.0')


def test_requested_extras_are_installed_and_stay(index, install):
  lock = (index.line('uv==1.0', "extra == 'install'") + index.line('measure==1.0')
          + index.line('plugin==1.0', "python_version >= '3.8' and extra == 'gpu'")
          + index.line('tester==1.0', "extra == 'dev'"))
  code, output, found = install(lock)
  assert code == 0, output
  assert 'measure' in found and not {'tester', 'plugin'} & {*found}
  code, output, found = install(lock, '--dev')
  assert code == 0, output
  assert 'tester' in found and 'plugin' not in found
  last = (install.environment / 'requirements.txt').stat().st_mtime_ns
  code, output, found = install(lock)
  assert (code, output) == (0, '') and 'tester' in found
  assert (install.environment / 'requirements.txt').stat().st_mtime_ns == last
  code, output, found = install(lock, '--gpu')
  assert code == 0, output
  assert {'tester', 'plugin', 'measure'} <= {*found}


def test_failed_installation_is_an_error_and_can_be_repeated(index, install):
  uv = index.line('uv==1.0', "extra == 'install'")
  code, output, _ = install(uv + index.line('plugin==1.0'))
  assert code != 0 and 'measure' in output
  code, output, _ = install(uv + f'measure==1.0 \\\n    --hash=sha256:{64 * "0"}\n')
  assert code != 0 and 'measure' in output
  code, output, found = install(uv + index.line('measure==1.0'))
  assert code == 0, output
  assert 'measure' in found and 'plugin' not in found


def test_foreign_environment_is_not_changed(index, install):
  install.environment.mkdir()
  (install.environment / 'mine').touch()
  code, output, _ = install(index.line('uv==1.0', "extra == 'install'"))
  assert code == 1 and '.venv' in output
  assert [path.name for path in install.environment.iterdir()] == ['mine']
  code, output, _ = install(index.line('uv==1.0'), '--tpu')
  assert code == 1


def test_lock_file_has_every_dependency_and_no_address():
  lock = (_ROOT / 'requirements.lock').read_text()
  project = (_ROOT / 'pyproject.toml').read_text()
  lists = project[project.index('dependencies = ['):project.index('[tool.ruff]')]
  wanted = {name.replace('_', '-') for name in re.findall(r'"([\w-]+)[^"]*"', lists)}
  locked = set(re.findall(r'^([\w-]+)==', lock, re.MULTILINE))
  assert len(wanted) > 15 and wanted <= locked
  assert '://' not in lock
