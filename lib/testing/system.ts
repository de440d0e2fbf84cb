/** The fake kernel as the machine that calls are about. */
import { OvernsError } from '../core/errors.js';
import type { Nsfs } from '../system/nsfs.js';
import type { System } from '../system/system.js';
import type { Machine } from './machine.js';
import { fakeNative, type Handles } from './native.js';
import { fakeUnixSockets } from './unix-sockets.js';

export function fakeSystem(machine: Machine, handles: Handles): System {
  return {
    id: Symbol('a fake kernel'),
    native: fakeNative(machine, handles),
    unixSockets: fakeUnixSockets(machine),
    nsfs: fakeNsfs(machine),
    proc: undefined,
    checkEngine({ title, code }) {
      throw new OvernsError(code, `the fake kernel has no ${title}`, {
        hint: 'name the namespace of the container: netns:NAME, or pid:N with addNetns(NAME, { pid: N })',
      });
    },
    watchNetns(_directory, changed) {
      const own: typeof changed = (action, name) => changed(action, name);
      machine.watchers.add(own);
      return { close: () => void machine.watchers.delete(own), ref: () => {}, unref: () => {} };
    },
  };
}

function fakeNsfs(machine: Machine): Nsfs {
  const gone = (path: string): Error => Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
  return {
    async isNamespace(path) {
      if (machine.lookUp(path) === undefined) throw gone(path);
      return true;
    },
    async identity(path) {
      const netns = machine.lookUp(path);
      if (netns === undefined) throw gone(path);
      return `4:${netns.inode}`;
    },
    names: async (directory) => machine.names(directory),
    open: async (path) => {
      const held = machine.open(path);
      return { path: held.path, close: async () => held.close() };
    },
    processExists: async (pid) => machine.hasProcess(pid),
  };
}
