/** `consul://HOST[:8500]/PREFIX` and `consul+https://...`: records in Consul's key-value store (Consul 1.8 or later). */
import type { StoreAddress, StoreDriver } from '../driver.js';
import { parseServerUrl, type StoreHost } from '../server-url.js';
import { ConsulStore } from './consul.js';
import { headers, readConsulTls, refuseTls, tokenSource } from './env.js';

interface ConsulAddress extends StoreAddress {
  readonly tls: boolean;
  readonly host: StoreHost;
}

export const consul: StoreDriver<ConsulAddress> = {
  title: 'Consul',
  schemes: ['consul', 'consul+https'],
  form: 'consul://HOST[:8500]/PREFIX',
  example: 'consul://consul/demo',
  parse(url, refuse) {
    const { scheme, hosts, text, prefix } = parseServerUrl(url, refuse, {
      port: 8500,
      example: 'consul://127.0.0.1:8500/demo',
      credentials: 'set CONSUL_HTTP_TOKEN',
    });
    const [host] = hosts;
    if (host === undefined || hosts.length > 1) {
      throw refuse('a store URL: Consul is reached through one host, best the local agent');
    }
    return { text, prefix, host, tls: scheme.endsWith('+https') };
  },
  async open({ host, tls }, { token, signal, ...files }) {
    const source = tokenSource(token);
    const material = tls ? await readConsulTls(files, signal) : refuseTls(files);
    return new ConsulStore({ host, tls, token: source, headers: headers(), ...material });
  },
};
