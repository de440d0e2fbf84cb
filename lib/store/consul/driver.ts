/** `consul://HOST[:8500][,HOST...]/PREFIX` and `consul+https://...`: records in Consul's key-value store (Consul 1.8 or later). */
import type { StoreAddress, StoreDriver } from '../driver.js';
import { parseServerUrl, type StoreHost } from '../server-url.js';
import { ConsulStore } from './consul.js';
import { headers, readConsulTls, refuseTls, tokenSource } from './env.js';

interface ConsulAddress extends StoreAddress {
  readonly tls: boolean;
  readonly hosts: readonly StoreHost[];
}

export const consul: StoreDriver<ConsulAddress> = {
  title: 'Consul',
  schemes: ['consul', 'consul+https'],
  form: 'consul://HOST[:8500][,HOST...]/PREFIX',
  example: 'consul://consul/demo',
  parse(url, refuse) {
    const { scheme, hosts, text, prefix } = parseServerUrl(url, refuse, {
      port: 8500,
      example: 'consul://127.0.0.1:8500/demo',
      credentials: 'set CONSUL_HTTP_TOKEN',
    });
    return { text, prefix, hosts, tls: scheme.endsWith('+https') };
  },
  async open({ hosts, tls, prefix }, { token, signal, ...files }) {
    const source = tokenSource(token);
    const material = tls ? await readConsulTls(files, signal) : refuseTls(files);
    return new ConsulStore({ hosts, tls, token: source, headers: headers(), ...material }, prefix);
  },
};
