// ovs-ofctl reads our bytes and prints what we print. Only its program is needed, no daemon runs.
import fc from 'fast-check';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NX_EXPERIMENTER } from '../../src/openflow/constants';
import { errorName } from '../../src/openflow/error';
import { ERROR_TYPES, NX_ERRORS, OFPET_EXPERIMENTER } from '../../src/openflow/error-codes';
import { formatFlowMod } from '../../src/openflow/flow-text';
import { encodeMessage, type Message } from '../../src/openflow/message';
import { MessageWriter } from '../../src/openflow/message-writer';
import { anyFlow } from '../unit/openflow/random-flows';
import { sensible } from './sensible-flow';

const run = promisify(execFile);

/** What `ovs-ofctl ofp-parse` prints of messages, one entry for each. */
async function print(messages: readonly Message[]): Promise<string[]> {
  const writer = new MessageWriter();
  messages.forEach((message, i) => encodeMessage(writer, i + 1, message));
  const folder = await mkdtemp(join(tmpdir(), 'ofp-'));
  try {
    await writeFile(join(folder, 'messages'), writer.take());
    const { stdout } = await run('ovs-ofctl', ['-O', 'OpenFlow14', 'ofp-parse', join(folder, 'messages')], {
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout
      .split(/^(?=(?:OFPT|OFPST|NXT)_\w+.*\(OF1\.4\) \(xid=)/m)
      .map((text) => text.replace(/ \(xid=0x[0-9a-f]+\)/, ''));
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('3,000 flows at random', async () => {
  const flows = fc.sample(anyFlow, { numRuns: 3000, seed: 20 }).map(sensible);
  const printed = await print(flows);
  expect(printed).toHaveLength(flows.length);
  const ours = flows.map((flow) => `OFPT_FLOW_MOD (OF1.4): ${formatFlowMod(flow)}`);
  const differ = printed.map((text, i) => [text.trim(), ours[i]]).filter(([theirs, mine]) => theirs !== mine);
  expect(differ.slice(0, 3)).toEqual([]);
});

const master = (generationId: bigint): Message => ({ type: 'roleRequest', role: 'master', generationId });

test.each<[string, Message, string]>([
  ['role request', master(5n), 'OFPT_ROLE_REQUEST (OF1.4): role=primary generation_id=5'],
  ['role request, slave', { ...master(6n), role: 'slave' } as Message, 'role=secondary generation_id=6'],
  ['role request, equal', { ...master(0n), role: 'equal' } as Message, 'OFPT_ROLE_REQUEST (OF1.4): role=equal'],
  [
    'set async',
    {
      type: 'setAsync',
      packetInMaster: 0b110,
      flowRemovedMaster: 0b100111,
      portStatusMaster: 7,
      packetInSlave: 0,
      roleStatusMaster: 3,
    },
    `OFPT_SET_ASYNC (OF1.4):
 primary:
       PACKET_IN: action invalid_ttl
     PORT_STATUS: add delete modify
    FLOW_REMOVED: idle hard delete eviction
     ROLE_STATUS: primary_request configuration_changed
    TABLE_STATUS: (off)
  REQUESTFORWARD: (off)

 secondary:
       PACKET_IN: (off)
     PORT_STATUS: (off)
    FLOW_REMOVED: (off)
     ROLE_STATUS: (off)
    TABLE_STATUS: (off)
  REQUESTFORWARD: (off)`,
  ],
  ['get async request', { type: 'getAsyncRequest' }, 'OFPT_GET_ASYNC_REQUEST (OF1.4):'],
  ['barrier', { type: 'barrierRequest' }, 'OFPT_BARRIER_REQUEST (OF1.4):'],
  [
    'bundle discard',
    { type: 'bundleControl', bundleId: 7, control: 6, flags: 3 },
    'OFPT_BUNDLE_CONTROL (OF1.4):\n bundle_id=0x7 type=DISCARD_REQUEST flags=atomic ordered',
  ],
  [
    'standard packet-in format',
    { type: 'setPacketInFormat', format: 0 },
    'NXT_SET_PACKET_IN_FORMAT (OF1.4): format=standard',
  ],
  [
    'meter in kilobits with burst',
    { type: 'meterMod', command: 'add', meterId: 9, unit: 'kbps', bands: [{ rate: 5000, burst: 100 }] },
    'OFPT_METER_MOD (OF1.4): ADD meter=9 kbps burst bands=\ntype=drop rate=5000 burst_size=100',
  ],
  ['hello', { type: 'hello', version: 5, versions: [5] }, 'OFPT_HELLO (OF1.4):\n version bitmap: 0x05'],
])('%s', async (_name, message, text) => {
  expect((await print([message]))[0]?.trimEnd()).toContain(text);
});

test('errors have the names that OVS gives them', async () => {
  const all = ERROR_TYPES.flatMap(([, , codes], errorType) => codes.split(' ').map((_, code) => ({ errorType, code })));
  const nicira = Object.keys(NX_ERRORS).map((code) => ({
    errorType: OFPET_EXPERIMENTER,
    code: Number(code),
    experimenter: NX_EXPERIMENTER,
  }));
  const errors = [...all, ...nicira];
  const printed = await print(errors.map((error) => ({ type: 'error', data: Buffer.alloc(0), ...error })));
  const names = printed.map((text) => /OFPT_ERROR \(OF1\.4\): (\w+)/.exec(text)?.[1]);
  const expected = errors.map(errorName).map((name) => IN_OVS[name] ?? name);
  // A name that this OVS lacks is no contradiction.
  expect(names.map((name, i) => name ?? expected[i])).toEqual(expected);
});

/** What OVS calls otherwise than OpenFlow 1.4. */
const IN_OVS: Readonly<Record<string, string>> = {
  OFPBRC_BAD_MULTIPART: 'OFPBRC_BAD_STAT',
  OFPBRC_BAD_EXPERIMENTER: 'OFPBRC_BAD_VENDOR',
  OFPBRC_BAD_EXP_TYPE: 'OFPBRC_BAD_SUBTYPE',
  OFPBRC_IS_SLAVE: 'OFPBRC_IS_SECONDARY',
  OFPBAC_BAD_EXPERIMENTER: 'OFPBAC_BAD_VENDOR',
  OFPBAC_BAD_EXP_TYPE: 'OFPBAC_BAD_VENDOR_TYPE',
};
