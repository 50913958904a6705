// What each vector of vectors.json says, written by hand from the specification and from what ovs-ofctl prints. Flow mods whose model would only repeat their text are held against that.
import { parseIpv4, parseMac } from '../../src/base/addresses';
import { checkPktLarger, controller, decTtl, load, move, output, setField, whole } from '../../src/openflow/action';
import { OFPBCT, OFPM_ALL, OFPP, OFPR, OFPRR, type PortNo } from '../../src/openflow/constants';
import type { FlowMod } from '../../src/openflow/flow-mod';
import type { Message } from '../../src/openflow/message';
import type { Port } from '../../src/openflow/port';

const port = (portNo: number) => portNo as PortNo;
const ip = { ethType: 0x0800 };
const flowMod = (flow: Partial<FlowMod>): FlowMod => ({
  type: 'flowMod',
  command: 'add',
  table: 0,
  priority: 0x8000,
  match: {},
  ...flow,
});
const ethernet = [0, 0, 0, 0, 0, 0];
const late: Omit<Port, 'hwAddr'> = {
  portNo: port(9),
  name: 'late',
  config: 0,
  state: 0,
  ethernet,
};
const frame = Buffer.from(
  '02420a01000302420a0100020800' +
    '45000028000000004006' +
    '66ca0a0100020a010003' +
    '03e800500000000000000000' +
    '5002000097a40000',
  'hex',
);
const packetIn2 = {
  type: 'packetIn2',
  reason: OFPR.ACTION,
  tableId: 0,
  cookie: 0xda01020304050607n,
  fullLength: 54,
  data: frame,
} as const;
const bundle = { type: 'bundleControl', bundleId: 0, flags: 3 } as const;
const route = {
  table: 2,
  priority: 100,
  match: {
    ...ip,
    inPort: port(3),
    ethSrc: parseMac('02:42:0a:01:00:02'),
    ipv4Src: parseIpv4('10.1.0.2'),
    ipv4Dst: parseIpv4('10.1.0.3'),
  },
  cookie: 0xda01020304050607n,
  idleTimeoutSeconds: 60,
  hardTimeoutSeconds: 300,
  importance: 9,
  flags: 1,
  actions: [
    setField('ethSrc', parseMac('02:42:0a:00:00:01')),
    setField('ethDst', parseMac('02:42:0a:01:00:03')),
    output(port(4)),
  ],
};

/** The model of a vector, by its name. */
export const models: Readonly<Record<string, Message>> = {
  'hello of ovs-ofctl': { type: 'hello', version: 5, versions: [5] },
  'hello of ovs-vswitchd': { type: 'hello', version: 5, versions: [1, 4, 5] },
  'features request': { type: 'featuresRequest' },
  'features reply': {
    type: 'featuresReply',
    datapathId: 0xda01000000aan,
    bufferCount: 0,
    tableCount: 254,
    auxiliaryId: 0,
    capabilities: 0x24f,
  },
  'port desc request': { type: 'portDescRequest' },
  'meter mod add': {
    type: 'meterMod',
    command: 'add',
    meterId: 4,
    unit: 'pktps',
    stats: true,
    bands: [{ rate: 1000, burst: 250 }],
  },
  'meter mod modify': { type: 'meterMod', command: 'modify', meterId: 4, unit: 'kbps', bands: [{ rate: 2000 }] },
  'meter mod delete': { type: 'meterMod', command: 'delete', meterId: 4, bands: [] },
  'meter mod delete all': { type: 'meterMod', command: 'delete', meterId: OFPM_ALL, bands: [] },
  'packet out': {
    type: 'packetOut',
    inPort: port(3),
    actions: [setField('ethSrc', parseMac('02:42:0a:00:00:01')), output(port(4))],
    data: Buffer.from(
      '02420a01000302420a010002080045000020000040004011269a0a0100020a01000300350035000c1234abcdef01',
      'hex',
    ),
  },
  'barrier request': { type: 'barrierRequest' },
  'barrier reply': { type: 'barrierReply' },
  'flow mod add: drop': flowMod({ table: 3, priority: 7 }),
  'flow mod add: route': flowMod(route),
  'flow mod add: masks': flowMod({
    priority: 5,
    cookie: 1n,
    flags: 2 | 4,
    match: {
      ...ip,
      ipProto: 6,
      metadata: { value: 0x10n, mask: 0xffn },
      reg0: { value: 5, mask: 15 },
      reg15: 7,
      ethDst: { value: parseMac('01:00:00:00:00:00'), mask: parseMac('01:00:00:00:00:00') },
      ipv4Src: { value: parseIpv4('10.0.0.0'), mask: parseIpv4('255.0.0.0') },
      ipv4Dst: { value: parseIpv4('10.0.0.1'), mask: parseIpv4('255.0.255.255') },
      tcpSrc: 80,
      tcpDst: { value: 0x1000, mask: 0xf000 },
      ipDscp: 46,
      ipEcn: 1,
      nwTtl: 1,
      ipFrag: { value: 0, mask: 2 },
    },
    actions: [{ type: 'resubmit', table: 5 }],
  }),
  'flow mod add: later fragments': flowMod({
    match: { ...ip, ipProto: 17, ipFrag: 3 },
    actions: [output(OFPP.IN_PORT)],
  }),
  'flow mod add: arp responder': flowMod({
    match: {
      ethType: 0x0806,
      arpOp: 1,
      arpSpa: parseIpv4('10.1.0.2'),
      arpTpa: parseIpv4('10.1.0.1'),
      arpSha: parseMac('02:42:0a:01:00:02'),
      arpTha: parseMac('00:00:00:00:00:00'),
    },
    actions: [
      move(whole('ethSrc'), whole('ethDst')),
      setField('ethSrc', parseMac('02:42:0a:00:00:01')),
      load(whole('arpOp'), 2),
      move(whole('arpSha'), whole('arpTha')),
      move(whole('arpSpa'), whole('arpTpa')),
      setField('arpSpa', parseIpv4('10.1.0.1')),
      load(whole('inPortNxm'), 0),
      output(port(3)),
    ],
  }),
  'flow mod add: ipv6': flowMod({
    match: {
      ethType: 0x86dd,
      ipProto: 6,
      ipv6Src: (0xfd00n << 112n) | 1n,
      ipv6Dst: { value: 0xfd00n << 112n, mask: 0xffffn << 112n },
      ipv6Flabel: 0x12345,
      tcpDst: 443,
    },
    actions: [decTtl(), output(port(2))],
  }),
  'flow mod add: vlan': flowMod({ match: { vlanVid: 0x1007, vlanPcp: 3 } }),
  'flow mod add: no vlan': flowMod({ match: { vlanVid: 0 } }),
  'flow mod add: controller': flowMod({
    match: ip,
    actions: [
      controller({
        userdata: Buffer.from([1, 2, 3, 4, 5]),
        meterId: 3,
        maxLen: 128,
        controllerId: 2,
        reason: OFPR.NO_MATCH,
        pause: true,
      }),
    ],
  }),
  'flow mod add: controller plain': flowMod({ match: ip, actions: [output(OFPP.CONTROLLER, 128)] }),
  'flow mod add: registers': flowMod({
    match: { ...ip, pktMark: 7, reg4: 0, reg5: 0, reg6: 0, reg7: 1 },
    actions: [
      load({ field: 'reg0', offset: 4, bits: 8 }, 5),
      load(whole('xreg1'), (1n << 64n) - 1n),
      move({ field: 'reg0', offset: 0, bits: 16 }, { field: 'reg1', offset: 16, bits: 16 }),
      setField('reg2', 7),
      setField('metadata', 0x1234n),
      { type: 'outputReg', source: { field: 'reg1', offset: 0, bits: 16 } },
    ],
  }),
  'flow mod add: check_pkt_larger': flowMod({
    match: ip,
    actions: [
      checkPktLarger(1514, { field: 'reg0', offset: 0, bits: 1 }),
      { type: 'resubmit', inPort: port(3), table: 6 },
      { type: 'resubmit', inPort: port(7) },
    ],
  }),
  'flow mod add: instructions': flowMod({
    match: ip,
    meter: 3,
    actions: [decTtl(), output(port(2))],
    clearActions: true,
    writeActions: [setField('ipv4Src', parseIpv4('10.0.0.1')), output(port(3))],
    writeMetadata: { value: 5n, mask: 0xffn },
    gotoTable: 9,
  }),
  'flow mod modify': flowMod({
    command: 'modify',
    table: 2,
    match: ip,
    cookie: 5n,
    cookieMask: 0xffn,
    actions: [output(port(5))],
  }),
  'flow mod modify strict': flowMod({
    command: 'modify_strict',
    table: 2,
    priority: 9,
    match: ip,
    actions: [output(port(5))],
  }),
  'flow mod delete': flowMod({
    command: 'delete',
    table: 255,
    cookie: 0xda01000000000000n,
    cookieMask: 0xffff000000000000n,
  }),
  'flow mod delete from table': flowMod({
    command: 'delete',
    table: 2,
    outPort: port(4),
    match: { ...ip, ipv4Dst: parseIpv4('10.1.0.3') },
  }),
  'flow mod delete strict': flowMod({ command: 'delete_strict', table: 2, priority: 9, match: ip }),
  'flow stats request': { type: 'flowStatsRequest', match: {} },
  'flow stats filtered request': {
    type: 'flowStatsRequest',
    table: 2,
    outPort: port(4),
    cookie: 0xda01000000000000n,
    cookieMask: 0xffff000000000000n,
    match: { ...ip, inPort: port(3) },
  },
  'aggregate stats request': { type: 'aggregateStatsRequest', table: 2, match: {} },
  'aggregate stats reply': { type: 'aggregateStatsReply', packetCount: 0, byteCount: 0, flowCount: 1 },
  'table stats request': { type: 'tableStatsRequest' },
  'desc request': { type: 'descRequest' },
  'desc reply': {
    type: 'descReply',
    manufacturer: 'Nicira, Inc.',
    hardware: 'Open vSwitch',
    software: '3.1.0',
    serialNumber: 'None',
    datapath: 'None',
  },
  'meter stats request': { type: 'meterStatsRequest', meterId: 3 },
  'meter config request': { type: 'meterConfigRequest', meterId: OFPM_ALL },
  'meter config reply': {
    type: 'meterConfigReply',
    more: false,
    meters: [{ meterId: 3, unit: 'pktps', stats: true, bands: [{ rate: 1000, burst: 1000 }] }],
  },
  'meter features request': { type: 'meterFeaturesRequest' },
  'meter features reply': {
    type: 'meterFeaturesReply',
    maxMeter: 262144,
    bandTypes: 2,
    capabilities: 15,
    maxBands: 8,
    maxColor: 0,
  },
  'bundle open request': { ...bundle, control: OFPBCT.OPEN_REQUEST },
  'bundle open reply': { ...bundle, control: OFPBCT.OPEN_REPLY, flags: 0 },
  'bundle commit request': { ...bundle, control: OFPBCT.COMMIT_REQUEST },
  'bundle commit reply': { ...bundle, control: OFPBCT.COMMIT_REPLY, flags: 0 },
  'bundle add: flow mod add': {
    type: 'bundleAdd',
    bundleId: 0,
    flags: 3,
    message: flowMod({ table: 1, priority: 1, match: ip, actions: [output(port(4))] }),
  },
  'bundle add: flow mod delete strict': {
    type: 'bundleAdd',
    bundleId: 0,
    flags: 3,
    message: flowMod({ command: 'delete_strict', table: 1, priority: 1, match: ip }),
  },
  'set packet-in format': { type: 'setPacketInFormat', format: 2 },
  'role reply': { type: 'roleReply', role: 'master', generationId: 5n },
  'role status': { type: 'roleStatus', role: 'slave', reason: 0, generationId: 6n },
  'get async reply': {
    type: 'getAsyncReply',
    packetInSlave: 0,
    packetInMaster: 0b111011,
    portStatusSlave: 7,
    portStatusMaster: 7,
    flowRemovedSlave: 0,
    flowRemovedMaster: 0b111111,
    roleStatusSlave: 0,
    roleStatusMaster: 0,
    tableStatusSlave: 0,
    tableStatusMaster: 0,
    requestForwardSlave: 0,
    requestForwardMaster: 0,
  },
  'error: bad type': { type: 'error', errorType: 1, code: 1, data: Buffer.from('05ff000800000007', 'hex') },
  'error: stale role': {
    type: 'error',
    errorType: 11,
    code: 0,
    data: Buffer.from('051800180000000900000002000000000000000000000001', 'hex'),
  },
  'error: bad length': {
    type: 'error',
    errorType: 1,
    code: 6,
    data: Buffer.from('05040010000000080000232000000010', 'hex'),
  },
  'packet in': {
    type: 'packetIn',
    totalLength: 54,
    reason: OFPR.ACTION,
    tableId: 0,
    cookie: 0xda01020304050607n,
    fields: { inPort: port(3) },
    data: frame,
  },
  'packet in 2: bare': { ...packetIn2, fields: { inPort: port(3) } },
  'packet in 2: with userdata and registers': {
    ...packetIn2,
    fields: { inPort: port(3), reg0: 0x11, reg7: 0x77, metadata: 0x123456789abcdef0n },
    userdata: Buffer.from([1, 2, 3, 4, 5]),
  },
};

/** For messages with times, orders or addresses that each recording has anew: the rest of their models. */
export const partialModels: Readonly<Record<string, object>> = {
  'port status: add': { type: 'portStatus', reason: 'add', port: late },
  'port status: modify': { type: 'portStatus', reason: 'modify', port: { ...late, state: 4 } },
  'port status: delete': { type: 'portStatus', reason: 'delete', port: { ...late, config: 1, state: 1 } },
  'echo request': { type: 'echoRequest' },
  'echo reply': { type: 'echoReply' },
  'port desc reply': { type: 'portDescReply', more: false },
  'flow stats reply': { type: 'flowStatsReply', more: false },
  'flow stats filtered reply': {
    type: 'flowStatsReply',
    more: false,
    flows: [{ ...route, packetCount: 0, byteCount: 0 }],
  },
  'flow stats reply, first part': { type: 'flowStatsReply', more: true },
  'table stats reply': { type: 'tableStatsReply', more: false },
  'meter stats reply': {
    type: 'meterStatsReply',
    more: false,
    meters: [
      {
        meterId: 3,
        flowCount: 0,
        packetInCount: 0,
        byteInCount: 0,
        bands: [{ packetCount: 0, byteCount: 0 }],
      },
    ],
  },
  'error: of nicira': { type: 'error', errorType: 0xffff, code: 4, experimenter: 0x2320 },
  'flow removed': {
    type: 'flowRemoved',
    cookie: 0x99n,
    priority: 3,
    reason: OFPRR.DELETE,
    table: 11,
    idleTimeoutSeconds: 60,
    hardTimeoutSeconds: 90,
    packetCount: 0,
    byteCount: 0,
    match: { ...ip, ipv4Dst: parseIpv4('10.0.0.9') },
  },
  'packet in 2: paused': { ...packetIn2, fields: { inPort: port(3) }, userdata: Buffer.from([2]) },
};
