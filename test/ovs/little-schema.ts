// A small schema with one column of each kind, for tests of the OVSDB client.

import type { Uuid } from '../../src/ovsdb/notation';

const STRINGS = { key: 'string', min: 0, max: 'unlimited' };
const reference = (refTable: string, refType: string) => ({ type: 'uuid', refTable, refType });

export const LITTLE_SCHEMA = {
  name: 'Little',
  version: '1.0.0',
  tables: {
    Item: {
      isRoot: true,
      indexes: [['name']],
      columns: {
        name: { type: 'string' },
        size: { type: { key: { type: 'integer', minInteger: 0, maxInteger: 1_000_000 } } },
        weight: { type: 'real' },
        on: { type: 'boolean' },
        colour: { type: { key: { type: 'string', enum: ['set', ['red', 'green']] }, min: 0, max: 1 } },
        tags: { type: STRINGS },
        labels: { type: { ...STRINGS, value: 'string' } },
        counts: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
        parent: { type: { key: reference('Parent', 'weak'), min: 0, max: 1 } },
      },
    },
    Parent: {
      isRoot: true,
      columns: {
        name: { type: 'string', mutable: false },
        items: { type: { key: reference('Item', 'strong'), min: 0, max: 'unlimited' } },
      },
    },
  },
};

export interface LittleTables {
  Item: {
    readonly name: string;
    readonly size: number;
    readonly weight: number;
    readonly on: boolean;
    readonly colour: 'red' | 'green' | undefined;
    readonly tags: readonly string[];
    readonly labels: ReadonlyMap<string, string>;
    readonly counts: ReadonlyMap<string, number>;
    readonly parent: Uuid | undefined;
  };
  Parent: { readonly name: string; readonly items: readonly Uuid[] };
}
