// Counts the packets of a capture file as it comes, and says where its last whole packet ends.

const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const LENGTH_AT = 8;
/** Of a file in the byte order of little-endian machines, with microseconds or nanoseconds. */
const LITTLE_ENDIAN = [0xa1b2c3d4, 0xa1b23c4d];

export class PcapCount {
  packets = 0;
  private rest: Buffer = Buffer.alloc(0);
  private isBegun = false;
  private isLittleEndian = true;

  /** Takes the next bytes; returns those of them, and of earlier ones, that make whole packets. */
  push(chunk: Buffer): Buffer {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    if (!this.isBegun && bytes.length >= FILE_HEADER) {
      this.isBegun = true;
      this.isLittleEndian = LITTLE_ENDIAN.includes(bytes.readUInt32LE(0));
      at = FILE_HEADER;
    }
    while (this.isBegun && bytes.length - at >= PACKET_HEADER) {
      const length = this.isLittleEndian ? bytes.readUInt32LE(at + LENGTH_AT) : bytes.readUInt32BE(at + LENGTH_AT);
      if (bytes.length - at < PACKET_HEADER + length) break;
      at += PACKET_HEADER + length;
      this.packets += 1;
    }
    this.rest = bytes.subarray(at);
    return bytes.subarray(0, at);
  }
}
