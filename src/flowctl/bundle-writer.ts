// Flow mods in bundles (OpenFlow 1.4, 7.3.9), around messages that are appended in place, templates too. A bundle is
// written whole, from its opening to its commit, before anything else is, and OVS applies all of it or nothing.

import { BUNDLE_ADD_HEADER, beginBundleAdd, encodeBundleControl } from '../openflow/bundle';
import { OFPBCT, OFPBF } from '../openflow/constants';
import { MAX_MESSAGE_LENGTH, type MessageWriter } from '../openflow/message-writer';

/** Flow mods in one bundle: OVS is fastest around here, and one bundle holds it up for some milliseconds only. */
const BUNDLE_SIZE = 2000;
const FLAGS = OFPBF.ATOMIC | OFPBF.ORDERED;
const XID_OFFSET = 4;

export class BundleWriter {
  private bundleId = 0;
  private count = 0;
  private total = 0;

  /** `atomic` false: messages go as they are, without a bundle. `xid` becomes that of every message. */
  constructor(
    private readonly writer: MessageWriter,
    private readonly xid: number,
    private readonly atomic: boolean,
  ) {}

  /** How many messages were added to any bundle. */
  get added(): number {
    return this.total;
  }

  get isFull(): boolean {
    return this.count >= BUNDLE_SIZE;
  }

  /** Adds the one message that `append` appends to the writer. */
  add(append: () => void): void {
    const { writer } = this;
    if (this.count === 0) this.open();
    // Each of the two messages reserves room for the longest there is: the slab must not change between them.
    writer.reserve(2 * (MAX_MESSAGE_LENGTH + 1) + BUNDLE_ADD_HEADER);
    const start = this.atomic ? beginBundleAdd(writer, this.xid, this.bundleId, FLAGS) : writer.position;
    const inner = this.atomic ? start + BUNDLE_ADD_HEADER : start;
    append();
    // OVS asks that the message inside has the xid of the one around it.
    writer.setU16(inner + XID_OFFSET, this.xid >>> 16);
    writer.setU16(inner + XID_OFFSET + 2, this.xid);
    if (this.atomic) writer.end(start);
    this.count += 1;
    this.total += 1;
  }

  /** Commits what was added since the last time. */
  end(): void {
    if (this.count > 0 && this.atomic) this.control(OFPBCT.COMMIT_REQUEST);
    this.count = 0;
  }

  private open(): void {
    this.bundleId += 1;
    if (this.atomic) this.control(OFPBCT.OPEN_REQUEST);
  }

  private control(control: number): void {
    const { writer, xid, bundleId } = this;
    encodeBundleControl(writer, xid, { type: 'bundleControl', bundleId, control, flags: FLAGS });
  }
}
