// Docker's ids in little memory: 64 hexadecimal digits are kept as the 32 bytes that they stand for. Other ids (swarm's
// have 25 characters) are kept as they are.

const HEX_ID = /^[0-9a-f]{64}$/;
/** In front of what is kept shorter than it is; what is kept as it is has PLAIN there. */
const SHORTENED = '#';
const PLAIN = '=';

/** An id in the form that it is kept in, and looked up by. */
export type CompactId = string & { readonly compact: unique symbol };

/** Text in one piece: V8 keeps a joined string as its parts, and a cut one with all that it was cut from. */
export function flat(text: string): string {
  return Buffer.from(text).toString();
}

/** The same for the same id, and for no other. */
export function compactId(id: string): CompactId {
  if (!HEX_ID.test(id)) return flat(PLAIN + id) as CompactId;
  const bytes = Buffer.allocUnsafe(33);
  bytes[0] = SHORTENED.charCodeAt(0);
  bytes.write(id, 1, 'hex');
  return bytes.toString('latin1') as CompactId;
}

/** The id that was made compact. */
export function fullId(id: CompactId): string {
  return id.startsWith(PLAIN) ? id.slice(1) : Buffer.from(id, 'latin1').toString('hex', 1);
}
