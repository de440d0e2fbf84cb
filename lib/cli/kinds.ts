/** The arguments and flags that several verbs share. */
import { checkOverlayName, formatCidr, interfaceAddress } from '../core/address.js';
import { parseNetns } from '../netns/references.js';
import { checkContainer, containerForms } from '../overlay/targets/container.js';
import { parseDockerAddress } from '../overlay/targets/docker-address.js';
import { parseStoreUrl, storeExample, storeForms } from '../store/index.js';
import { option } from './flags.js';
import { usageError } from './usage.js';
import type { Argument } from './verb.js';

export const overlayArgument: Argument = {
  name: 'NAME',
  help: "the overlay's name",
  check: (text, name) => void checkOverlayName(text, name),
};

export const containerArgument: Argument = {
  name: 'CONTAINER',
  help: `${containerForms}, or a name: Docker's, else a named namespace's`,
  check: (text) => checkContainer(text),
};

export const hostFlag = option(
  'NETNS',
  'the namespace that is the host: a name, a path or pid:N; default the one found, else this one',
  parseNetns,
);

export const dockerFlag = option(
  'HOST',
  "Docker's socket: unix:///PATH, a path, or tcp:// of this machine; default DOCKER_HOST",
  (text, name) => {
    parseDockerAddress(text, name);
    return text.startsWith('/') ? `unix://${text}` : text;
  },
);

/** A store that outlives this process. */
export function storeUrl(text: string, name: string): string {
  const { driver, text: shown } = parseStoreUrl(text, name);
  if (driver.inProcess === true) {
    throw usageError(
      `${name}: ${shown} lives in one process and is lost when this one ends`,
      `name a store such as ${storeExample()}`,
    );
  }
  return text;
}

/** How the URL of a store is written, as its drivers say; those of OVERNS_DRIVERS are there when verbs are loaded. */
export const STORE_HELP = `${storeForms()}; {vni} and {name} in it stand for the overlay`;

/** A store for examples: of one network, or by VNI. */
export const STORE_EXAMPLE = storeExample();
export const STORE_EXAMPLE_BY_VNI = storeExample().replace(/[^/:]+$/, '{vni}');

/** `192.168.0.2/24`, canonical. */
export function cidr(text: string, name: string): string {
  return formatCidr(interfaceAddress(text, name));
}

/** Refuses what is given twice. */
export function refuseDuplicates(texts: readonly string[], name: string): void {
  const seen = new Set<string>();
  for (const text of texts) {
    if (seen.has(text)) throw usageError(`${name}: ${text} is given twice`, 'name each address once');
    seen.add(text);
  }
}
