/**
 * Debian packages without changing the machine: downloaded with apt into a folder of our own and unpacked there.
 * Where from is the machine's own apt configuration's business, asked at run time and kept nowhere.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { which } from './process.mjs';

/** apt-get with state and cache folders of its own; returns { ok, stdout, said }. */
function apt(folder, options, args, cwd = folder) {
  for (const dir of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, dir), { recursive: true });
  const settings = {
    'Dir::State': folder,
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::State::extended_states': join(folder, 'extended_states'),
    'Dir::Cache': join(folder, 'cache'),
    'Debug::NoLocking': 'true',
    'APT::Sandbox::User': 'root',
    'APT::Get::Assume-Yes': 'true',
    'APT::Install-Recommends': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '5',
    'Acquire::http::Timeout': '20',
    ...options,
  };
  const result = spawnSync(
    'apt-get',
    [...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]), ...args],
    {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
      timeout: 600_000,
    },
  );
  const errors = `${result.stderr ?? ''}`.split('\n').filter((line) => /^(E|Err):?/.test(line));
  return {
    ok: result.status === 0,
    stdout: result.stdout ?? '',
    said: errors[0] ?? `apt-get ended with status ${result.status}`,
  };
}

/** The address the machine takes its main suite from, or undefined where apt is not set up for Debian. */
function mirror(folder) {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const suite = /^VERSION_CODENAME=(.+)$/m.exec(release)?.[1];
  if (!suite || !/^ID=debian$/m.test(release)) return undefined;
  const { stdout } = apt(folder, {}, ['update', '--print-uris']);
  return new RegExp(`^'(\\S+)/dists/${suite}/`, 'm').exec(stdout)?.[1];
}

function unpack(folder, into) {
  const debs = readdirSync(folder).filter((name) => name.endsWith('.deb'));
  for (const deb of debs) {
    const result = spawnSync('dpkg-deb', ['-x', join(folder, deb), into], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (result.status !== 0) return `dpkg-deb -x ${deb}: ${result.stderr.trim()}`;
  }
  return undefined;
}

/**
 * Unpacks packages, with those of their dependencies that the machine lacks, into `into`. `suite`: a suite the
 * machine does not use; of such a package its own file only. Returns why it failed, or undefined.
 */
export function unpackPackages(packages, into, suite) {
  if (!which('apt-get') || !which('dpkg-deb')) return 'this machine has no apt';
  const folder = mkdtempSync(join(tmpdir(), 'overns-apt-'));
  try {
    mkdirSync(into, { recursive: true });
    let options = {};
    if (suite) {
      const uri = mirror(folder);
      if (!uri) return `the machine's apt configuration names no Debian mirror to take the suite ${suite} from`;
      const list = join(folder, 'sources.list');
      const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
      writeFileSync(list, `deb ${existsSync(keyring) ? `[signed-by=${keyring}] ` : ''}${uri} ${suite} main\n`);
      options = { 'Dir::Etc::SourceList': list, 'Dir::Etc::SourceParts': '/dev/null' };
    }
    const update = apt(folder, options, ['update', '--error-on=any']);
    // One of several sources may be unreachable and not matter: what counts is whether the packages come.
    const archives = join(folder, 'cache/archives');
    const got = suite
      ? apt(folder, options, ['download', ...packages], archives)
      : apt(folder, options, ['install', '--reinstall', '--download-only', ...packages]);
    if (!got.ok) return (update.ok ? got : update).said;
    return unpack(archives, into);
  } catch (error) {
    return error.message;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Installs packages on the machine itself: root only. Returns why it failed, or undefined. */
export function installPackages(packages) {
  if (!which('apt-get')) return 'this machine has no apt';
  const options = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  // Somebody else's apt may hold the lock.
  const patient = ['-qq', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=5'];
  spawnSync('apt-get', [...patient, 'update'], options);
  const result = spawnSync('apt-get', [...patient, '-y', '--no-install-recommends', 'install', ...packages], options);
  return result.status === 0 ? undefined : `apt-get install ${packages.join(' ')} failed (above)`;
}
