/** What the addon and lib both know is the same on both sides: kinds of events and their fields, counters, layouts. */
import { expect, test } from 'vitest';
import { counters } from '../../lib/resolver/counters.js';
import { ENTRY_RECORD, ENTRY_ROW, ROW_ACTIONS, ROW_KINDS, VERBS } from '../../lib/rtnl/entry-layout.js';
import { loadAddon } from '../../lib/system/addon.js';
import { CAUSES, EVENT_FIELDS, EVENT_KINDS } from '../../lib/system/native.js';

const { tables } = loadAddon() as { readonly tables: Readonly<Record<string, unknown>> };

test.each(
  Object.entries({
    eventKinds: EVENT_KINDS,
    eventFields: EVENT_FIELDS,
    causes: CAUSES,
    counters: Object.fromEntries(Object.entries(counters).map(([key, { type }]) => [key, type])),
    rowKinds: ROW_KINDS,
    rowActions: ROW_ACTIONS,
    verbs: VERBS,
    entryRow: ENTRY_ROW,
    entryRecord: ENTRY_RECORD,
  }),
)('%s', (name, here) => {
  expect(tables[name]).toEqual(here);
});

test('the addon has no table that is not compared', () => {
  expect(Object.keys(tables)).toHaveLength(9);
});
