/** The etcd store against a real etcd. Clusters, losses and what etcd never does are in etcd-failures.test.ts. */
import { beforeAll, describe, test } from 'vitest';
import { storeConformance } from '../../lib/testing/index.js';
import { Etcd } from '../support/etcd.js';
import { describeWith } from '../support/requirements.js';

let etcd: Etcd;
let prefixes = 0;

describeWith(['etcd'], 'etcd', () => {
  beforeAll(async () => {
    etcd = await Etcd.start();
  });

  describe('what every driver does', () => {
    const fresh = (): string => `etcd://${etcd.at}/t${++prefixes}`;
    const cases = storeConformance({ url: fresh, urlByVni: () => `${fresh()}/{vni}`, claims: false, leases: false });
    test.each(cases)('$name', ({ run }) => run());
  });
});
