// Flows as text: what is printed reads back as the same flow, and what cannot be read is refused by name.
import fc from 'fast-check';
import { bitsOf, output, outputReg, setField } from '../../../src/openflow/action';
import { OFPP } from '../../../src/openflow/constants';
import type { FlowMod } from '../../../src/openflow/flow-mod';
import { formatFlow, parseFlow } from '../../../src/openflow/flow-text';
import { decodeMessage, encodeMessage } from '../../../src/openflow/message';
import { MessageWriter } from '../../../src/openflow/message-writer';
import { anyFlow, match, portNo, u64 } from './random-flows';

test('what is printed reads back as the same flow', () => {
  fc.assert(
    fc.property(anyFlow, fc.constantFrom('add', 'modify', 'modify_strict'), (flow, command) => {
      const one = { ...flow, command } as FlowMod;
      expect(parseFlow(formatFlow(one))).toEqual(one);
    }),
    { numRuns: 1500 },
  );
});

test('deletes print no actions', () => {
  fc.assert(
    fc.property(match, u64, portNo, (which, cookie, outPort) => {
      const flow: FlowMod = {
        type: 'flowMod',
        command: 'delete',
        table: 255,
        priority: 0x8000,
        match: which,
        cookieMask: (1n << 64n) - 1n,
        ...(cookie === 0n ? {} : { cookie }),
        outPort,
      };
      const text = formatFlow(flow);
      expect(text).not.toContain('actions');
      expect({ cookie: 0n, ...parseFlow(text) }).toEqual({ cookie: 0n, ...flow });
    }),
  );
});

test('a flow survives the wire', () => {
  fc.assert(
    fc.property(anyFlow, (flow) => {
      const writer = new MessageWriter();
      encodeMessage(writer, 1, flow);
      const bytes = writer.take();
      expect(decodeMessage(bytes, 0, bytes.length)).toEqual(flow);
    }),
    { numRuns: 1500 },
  );
});

test.each([
  ['actions=drop', {}],
  ['ip actions=drop', { match: { ethType: 0x0800 } }],
  ['table=3,priority=9,ip,nw_src=10.0.0.0/8,actions=output:1', { table: 3, priority: 9 }],
  ['  add   cookie=0x5/-1 , table=1   tcp,tp_dst=0x50 actions=NORMAL', { cookie: 5n, cookieMask: (1n << 64n) - 1n }],
  ['in_port=LOCAL actions=local', { actions: [output(OFPP.LOCAL)] }],
  ['tcp_dst=80,tcp actions=set_field:5->reg0', { actions: [setField('reg0', 5)] }],
  [
    'actions=set_field:5->NXM_NX_REG0[],output:reg1[0..15]',
    { actions: [setField('reg0', 5), outputReg(bitsOf('reg1', 0, 16))] },
  ],
])('reads ovs-ofctl notation that it does not print: %s', (text, expected) => {
  expect(parseFlow(text)).toMatchObject(expected);
});

test.each([
  ['colour=blue actions=drop', '"colour=blue" is no part of a flow'],
  ['ipx actions=drop', '"ipx" is no part of a flow'],
  ['tp_src=5 actions=drop', '"tp_src=5" is no part of a flow'],
  ['table=256 actions=drop', '"256" is not a number of 0 to 255'],
  ['priority=-1 actions=drop', '"-1" is not a number of 0 to 65535'],
  ['cookie=x actions=drop', '"x" is not a number'],
  ['ip,nw_src=10.0.0 actions=drop', '"10.0.0" is not an IPv4 address'],
  ['ip,nw_frag=some actions=drop', '"some" is no kind of fragment'],
  ['ipv6,ipv6_src=fd00 actions=drop', '"fd00" is not an IPv6 address'],
  ['ipv6,ipv6_src=1::2::3 actions=drop', '"1::2::3" is not an IPv6 address'],
  ['actions=output', '"" is not a number'],
  ['actions=fly', '"fly" is not a number'],
  ['actions=load:1', '"1" lacks "->" and a destination'],
  ['actions=load:0x100->NXM_NX_REG0[0..7]', '"0x100" is not a number of 0 to 255'],
  ['actions=load:1->NXM_NX_REG0[31..32]', 'has no such bits'],
  ['actions=load:1->NXM_NX_REG77[]', 'is not a field with its bits in brackets'],
  ['actions=set_field:1->colour', 'is not a field'],
  ['actions=controller(colour=blue)', 'controller has no option "colour"'],
])('refuses %s', (text, problem) => {
  expect(() => parseFlow(text)).toThrow(problem);
});
