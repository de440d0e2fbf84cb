import { OvernsError } from '../../core/errors.js';
import { openStore } from '../../index.js';
import {
  checkKey,
  checkKind,
  checkValue,
  parseStoreUrl,
  type RecordKind,
  recordsOf,
  storeForms,
} from '../../store/index.js';
import { needed, oneOf } from '../flags.js';
import { STORE_EXAMPLE, storeUrl } from '../kinds.js';
import { table } from '../output.js';
import { usageError } from '../usage.js';
import { defineVerb } from '../verb.js';

const OPERATIONS = ['list', 'get', 'put', 'delete'] as const;
type Operation = (typeof OPERATIONS)[number];

/** How many words follow each. */
const WORDS: Readonly<Record<Operation, readonly [least: number, most: number, form: string]>> = {
  list: [0, 1, '[arp|fib]'],
  get: [2, 2, 'arp|fib KEY'],
  put: [3, 3, 'arp|fib KEY VALUE'],
  delete: [2, 2, 'arp|fib KEY'],
};

interface Asked {
  readonly operation: Operation;
  readonly kind: RecordKind | undefined;
  readonly key: string;
  readonly value: string;
}

function asked([first = '', ...words]: readonly string[]): Asked {
  const operation = oneOf(...OPERATIONS)(first, 'records');
  const [least, most, form] = WORDS[operation];
  if (words.length < least || words.length > most) {
    throw usageError(
      `records ${operation}: ${words.length < least ? 'something is missing' : 'there is a word too many'}`,
      `write \`overns records ${operation} ${form} --store URL\``,
    );
  }
  const [which, key = '', value = ''] = words;
  const kind = which === undefined ? undefined : checkKind(which, `records ${operation}`);
  return {
    operation,
    kind,
    // A key that cannot be looked up can still be deleted.
    key: kind === undefined || operation === 'list' || operation === 'delete' ? key : checkKey(kind, key, 'KEY'),
    value: kind === undefined || operation !== 'put' ? value : checkValue(kind, value, 'VALUE'),
  };
}

/** No overlay is at hand here to stand in for a placeholder. */
function oneNetwork(text: string, name: string): string {
  const { templated, text: shown } = parseStoreUrl(storeUrl(text, name), name);
  if (templated) {
    throw usageError(`${name}: ${shown} stands for many networks`, "write the overlay's own VNI and name into it");
  }
  return text;
}

export const verb = defineVerb({
  name: 'records',
  summary: 'List, read, write and delete the records of a store',
  description:
    'PREFIX/arp/IP holds the MAC address of an IP address, PREFIX/fib/MAC the VTEP of a MAC address: what attach --store publishes.',
  args: [
    { name: 'list|get|put|delete', help: 'what to do' },
    { name: 'WORD', help: 'arp|fib KEY [VALUE]; list takes arp or fib alone, or nothing', optional: true, many: true },
  ],
  flags: { store: needed('URL', storeForms(), oneNetwork) },
  examples: [
    [`overns records put arp 192.168.0.3 02:42:c0:a8:00:03 --store ${STORE_EXAMPLE}`, 'who has 192.168.0.3'],
    [`overns records put fib 02:42:c0:a8:00:03 10.0.0.11 --store ${STORE_EXAMPLE}`, 'and where that is'],
    [`overns records list --store ${STORE_EXAMPLE}`, 'all of them, those that cannot be used with the reason'],
  ],
  streams: false,
  check: ({ args }) => void asked(args),
  async run({ args, flags: { store: url } }, { signal, out, json }) {
    const { operation, kind, key, value } = asked(args);
    await using store = await openStore(url, { signal });
    const records = recordsOf(store);
    if (operation === 'list' || kind === undefined) {
      const all = await records.list({ signal });
      const listed = kind === undefined ? all : all.filter((record) => record.kind === kind);
      if (json) await out.json({ records: listed });
      else if (listed.length === 0) await out.lines(['no records']);
      else {
        const leased = listed.some(({ lease }) => lease !== undefined);
        const row = (record: (typeof listed)[number]): string[] => [
          record.kind,
          // As a shell takes it, where blanks at its end could not be seen.
          /^[\x21-\x7e]+$/.test(record.key) ? record.key : JSON.stringify(record.key),
          record.value,
          ...(leased ? [record.lease ?? '-'] : []),
          record.problem ?? '',
        ];
        await out.lines(table(['KIND', 'KEY', 'VALUE', ...(leased ? ['LEASE'] : []), ''], listed.map(row)));
      }
      return undefined;
    }
    switch (operation) {
      case 'get': {
        const found = await records.get(kind, key, { signal });
        if (found === null) {
          throw new OvernsError('ENOENT', `no record ${kind}/${key} in ${parseStoreUrl(url).text}`, {
            hint: '`overns records list` shows what is there',
          });
        }
        if (json) await out.json({ kind, key, value: found });
        else await out.lines([found]);
        break;
      }
      case 'put':
        await records.put(kind, key, value, { signal });
        if (json) await out.json({ kind, key, value, put: true });
        else await out.lines([`put ${kind}/${key} = ${value}`]);
        break;
      case 'delete': {
        const deleted = await records.delete(kind, key, { signal });
        if (json) await out.json({ kind, key, deleted });
        else await out.lines([deleted ? `deleted ${kind}/${key}` : `there is no record ${kind}/${key}`]);
        break;
      }
    }
    return undefined;
  },
});
