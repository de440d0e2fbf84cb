/** `etcd://HOST[:2379][,HOST...]/PREFIX` and `etcd+https://...`: records in etcd (3.4 or later), over its JSON gateway. */
import type { StoreAddress, StoreDriver } from '../driver.js';
import { parseServerUrl, type StoreHost } from '../server-url.js';
import { credentials, readEtcdTls, refuseTls } from './env.js';
import { EtcdStore } from './etcd.js';

interface EtcdAddress extends StoreAddress {
  readonly tls: boolean;
  readonly hosts: readonly StoreHost[];
}

export const etcd: StoreDriver<EtcdAddress> = {
  title: 'etcd',
  schemes: ['etcd', 'etcd+https'],
  form: 'etcd://HOST[:2379][,HOST...]/PREFIX',
  example: 'etcd://etcd/demo',
  parse(url, refuse) {
    const { scheme, hosts, text, prefix } = parseServerUrl(url, refuse, {
      port: 2379,
      example: 'etcd://127.0.0.1:2379/demo',
      credentials: 'set ETCDCTL_USER and ETCDCTL_PASSWORD',
    });
    return { text, prefix, hosts, tls: scheme.endsWith('+https') };
  },
  async open({ hosts, tls }, { token, signal, ...files }) {
    const from = credentials(token);
    const material = tls ? await readEtcdTls(files, signal) : refuseTls(files);
    return new EtcdStore({ hosts, tls, credentials: from, ...material });
  },
};
