// The recorded messages of vectors.json.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Vector {
  readonly name: string;
  readonly sender: 'ovs-ofctl' | 'ovs-vswitchd';
  readonly how: string;
  readonly hex: string;
  readonly text: string;
}

const file = JSON.parse(readFileSync(join(__dirname, 'vectors.json'), 'utf8')) as { vectors: Vector[] };

export const vectors: readonly Vector[] = file.vectors;

export const bytesOf = (vector: Vector): Buffer => Buffer.from(vector.hex, 'hex');

export function vectorNamed(name: string): Buffer {
  const vector = vectors.find((each) => each.name === name);
  if (vector === undefined) throw new Error(`no vector is called "${name}"`);
  return bytesOf(vector);
}
