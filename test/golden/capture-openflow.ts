// Makes vectors.json beside this file: OpenFlow messages as Open vSwitch's own programs send them, recorded between
// ovs-ofctl and a private ovs-vswitchd. None of our encoders has a part in it. Run by hand, the result is committed:
//   npx esbuild --bundle --platform=node test/golden/capture-openflow.ts --outfile=build/capture.js && node build/capture.js
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { startOvs, type Ovs } from '../ovs/ovs';

interface Vector {
  readonly name: string;
  readonly sender: 'ovs-ofctl' | 'ovs-vswitchd';
  readonly how: string;
  readonly hex: string;
  /** What `ovs-ofctl ofp-print` says, without xid and hex dump. */
  readonly text: string;
}

const vectors: Vector[] = [];

function add(name: string, sender: Vector['sender'], how: string, message: Buffer | undefined): void {
  if (message === undefined) throw new Error(`${name}: no such message was seen`);
  const hex = message.toString('hex');
  const printed = execFileSync('ovs-ofctl', ['-O', 'OpenFlow14', 'ofp-print', hex], {
    encoding: 'utf8',
    stdio: 'pipe',
  });
  const text = printed
    .replace(/ \(xid=0x[0-9a-f]+\)/, '')
    .trimEnd()
    .slice(0, 2000);
  // An error quotes what was refused, which need not be readable.
  if (message[1] !== 1 && text.includes('decode error')) throw new Error(`${name}: ${text}`);
  if (process.env.VERBOSE) console.log(name);
  vectors.push({ name, sender, how, hex, text });
}

/** Cuts a stream into messages. */
class Cutter {
  readonly messages: Buffer[] = [];
  private rest = Buffer.alloc(0);

  push(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    while (this.rest.length >= 8 && this.rest.length >= this.rest.readUInt16BE(2)) {
      const length = this.rest.readUInt16BE(2);
      this.messages.push(this.rest.subarray(0, length));
      this.rest = this.rest.subarray(length);
    }
  }
}

/** Runs an ovs-ofctl command on the bridge through a recording proxy; gives what either side sent. */
async function record(ovs: Ovs, args: string[], input = ''): Promise<{ sent: Buffer[]; answered: Buffer[] }> {
  if (process.env.VERBOSE) console.log(args.join(' '));
  const [sent, answered] = [new Cutter(), new Cutter()];
  const path = join(ovs.rundir, 'proxy.sock');
  const sockets: Socket[] = [];
  const server = createServer((client) => {
    const bridge = connect(join(ovs.rundir, 'br0.mgmt'));
    sockets.push(client, bridge);
    client.on('data', (chunk) => (sent.push(chunk), bridge.write(chunk))).on('end', () => bridge.end());
    bridge.on('data', (chunk) => (answered.push(chunk), client.write(chunk)));
    for (const socket of [client, bridge]) socket.on('error', () => undefined);
  }).listen(path);
  await once(server, 'listening');
  const [command = '', ...rest] = args;
  const options = command.startsWith('-') ? [command, rest.shift() ?? ''] : [command];
  const { spawn } = await import('node:child_process');
  const child = spawn('ovs-ofctl', ['-O', 'OpenFlow14', ...options, `unix:${path}`, ...rest], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  child.stdin.end(input);
  await once(child, 'exit');
  for (const socket of sockets) socket.destroy();
  server.close();
  return { sent: sent.messages, answered: answered.messages };
}

const ofType = (type: number) => (message: Buffer) => message[1] === type;
const isMultipart = (type: number, reply: boolean) => (message: Buffer) =>
  message[1] === (reply ? 19 : 18) && message.readUInt16BE(8) === type;
const isNicira = (subtype: number) => (message: Buffer) =>
  message[1] === 4 && message.readUInt32BE(8) === 0x2320 && message.readUInt32BE(12) === subtype;

/** A connection of our own to the bridge: bytes written by hand from the specification, of which only answers count. */
class Peer {
  private readonly cutter = new Cutter();
  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => this.cutter.push(chunk));
  }

  static async connect(ovs: Ovs): Promise<Peer> {
    const socket = connect(join(ovs.rundir, 'br0.mgmt'));
    await once(socket, 'connect');
    const peer = new Peer(socket);
    peer.send('05000010000000010001000800000020');
    await peer.next(ofType(0));
    return peer;
  }

  send(hex: string): void {
    this.socket.write(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
  }

  async next(which: (message: Buffer) => boolean): Promise<Buffer> {
    for (;;) {
      const at = this.cutter.messages.findIndex(which);
      if (at >= 0) return this.cutter.messages.splice(at, 1)[0] as Buffer;
      await once(this.socket, 'data', { signal: AbortSignal.timeout(5000) });
    }
  }

  end(): void {
    this.socket.destroy();
  }
}

const FLOWS: readonly [string, string][] = [
  ['drop', 'table=3,priority=7,actions=drop'],
  [
    'route',
    'cookie=0xda01020304050607,table=2,idle_timeout=60,hard_timeout=300,importance=9,send_flow_rem,priority=100,' +
      'ip,in_port=3,dl_src=02:42:0a:01:00:02,nw_src=10.1.0.2,nw_dst=10.1.0.3,actions=set_field:02:42:0a:00:00:01->eth_src,' +
      'set_field:02:42:0a:01:00:03->eth_dst,output:4',
  ],
  [
    'masks',
    'cookie=0x1,priority=5,check_overlap,reset_counts,tcp,metadata=0x10/0xff,reg0=0x5/0xf,reg15=7,' +
      'dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,nw_src=10.0.0.0/8,nw_dst=10.0.0.1/255.0.255.255,tp_src=80,' +
      'tp_dst=0x1000/0xf000,nw_tos=184,nw_ecn=1,nw_ttl=1,nw_frag=not_later,actions=resubmit(,5)',
  ],
  ['later fragments', 'udp,nw_frag=later,actions=IN_PORT'],
  ['udp', 'udp,tp_src=53,tp_dst=5353,actions=LOCAL'],
  ['sctp', 'sctp,tp_src=1,tp_dst=2,actions=NORMAL'],
  ['icmp', 'icmp,icmp_type=8,icmp_code=0,actions=FLOOD'],
  [
    'arp responder',
    'arp,arp_op=1,arp_spa=10.1.0.2,arp_tpa=10.1.0.1,arp_sha=02:42:0a:01:00:02,arp_tha=00:00:00:00:00:00,' +
      'actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:42:0a:00:00:01->eth_src,load:0x2->NXM_OF_ARP_OP[],' +
      'move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:10.1.0.1->arp_spa,' +
      'load:0->NXM_OF_IN_PORT[],output:3',
  ],
  ['ipv6', 'tcp6,ipv6_src=fd00::1,ipv6_dst=fd00::/16,ipv6_label=0x12345,tp_dst=443,actions=dec_ttl,output:2'],
  ['neighbour solicitation', 'icmp6,icmp_type=135,icmp_code=0,nd_target=fd00::1,nd_sll=02:42:0a:01:00:02,actions=drop'],
  ['vlan', 'dl_vlan=7,dl_vlan_pcp=3,actions=drop'],
  ['no vlan', 'vlan_tci=0/0x1fff,actions=drop'],
  ['controller', 'ip,actions=controller(userdata=01.02.03.04.05,meter_id=3,max_len=128,id=2,reason=no_match,pause)'],
  ['controller plain', 'ip,actions=CONTROLLER:128'],
  ['controller by reason', 'ip,actions=controller(reason=invalid_ttl,id=3)'],
  [
    'registers',
    'ip,pkt_mark=0x7,xxreg1=0x1,actions=load:0x5->NXM_NX_REG0[4..11],load:0xffffffffffffffff->OXM_OF_PKT_REG1[],' +
      'move:NXM_NX_REG0[0..15]->NXM_NX_REG1[16..31],set_field:0x7->reg2,set_field:0x1234->metadata,output:NXM_NX_REG1[0..15]',
  ],
  ['set_field with mask', 'ip,actions=set_field:0x5/0xf->reg0,set_field:10.0.0.0/8->ip_src'],
  ['check_pkt_larger', 'ip,actions=check_pkt_larger(1514)->NXM_NX_REG0[0],resubmit(3,6),resubmit:7'],
  [
    'instructions',
    'ip,actions=meter:3,dec_ttl,output:2,clear_actions,write_actions(set_field:10.0.0.1->ip_src,output:3),' +
      'write_metadata:0x5/0xff,goto_table:9',
  ],
  [
    'foreign actions',
    'ip,actions=learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]),push_vlan:0x8100,group:1,note:01.02',
  ],
  ['foreign match', 'ct_state=+trk,ip,tun_id=5,actions=drop'],
];

async function captureFlowMods(ovs: Ovs): Promise<void> {
  for (const [name, flow] of FLOWS) {
    // Tables, groups and meters that do not exist would be refused; the request has been recorded all the same.
    const { sent } = await record(ovs, ['add-flow', flow]).catch(() => ({ sent: [] as Buffer[] }));
    add(`flow mod add: ${name}`, 'ovs-ofctl', `ovs-ofctl add-flow BRIDGE '${flow}'`, sent.find(ofType(14)));
  }
  for (const [name, ...args] of [
    ['modify', 'mod-flows', 'cookie=0x5/0xff,table=2,ip,actions=output:5'],
    ['modify strict', '--strict', 'mod-flows', 'table=2,priority=9,ip,actions=output:5'],
    ['delete', 'del-flows', 'cookie=0xda01000000000000/0xffff000000000000'],
    ['delete from table', 'del-flows', 'table=2,out_port=4,ip,nw_dst=10.1.0.3'],
    ['delete strict', '--strict', 'del-flows', 'table=2,priority=9,ip'],
  ] as [string, ...string[]][]) {
    const { sent } = await record(ovs, args);
    add(`flow mod ${name}`, 'ovs-ofctl', `ovs-ofctl ${args.join(' ')}`, sent.find(ofType(14)));
  }
}

async function captureRequests(ovs: Ovs): Promise<void> {
  const show = await record(ovs, ['show']);
  add('hello of ovs-ofctl', 'ovs-ofctl', 'ovs-ofctl show', show.sent.find(ofType(0)));
  add('hello of ovs-vswitchd', 'ovs-vswitchd', 'ovs-ofctl show', show.answered.find(ofType(0)));
  add('features request', 'ovs-ofctl', 'ovs-ofctl show', show.sent.find(ofType(5)));
  add('features reply', 'ovs-vswitchd', 'ovs-ofctl show', show.answered.find(ofType(6)));
  add('port desc request', 'ovs-ofctl', 'ovs-ofctl show', show.sent.find(isMultipart(13, false)));
  add('port desc reply', 'ovs-vswitchd', 'ovs-ofctl show', show.answered.find(isMultipart(13, true)));
  const ping = await record(ovs, ['ping', '13']);
  add('echo request', 'ovs-ofctl', 'ovs-ofctl ping', ping.sent.find(ofType(2)));
  add('echo reply', 'ovs-vswitchd', 'ovs-ofctl ping', ping.answered.find(ofType(3)));
  await record(ovs, ['add-meter', 'meter=3,pktps,burst,stats,band=type=drop,rate=1000,burst_size=1000']);
  for (const [name, ...args] of [
    ['meter mod add', 'add-meter', 'meter=4,pktps,burst,stats,band=type=drop,rate=1000,burst_size=250'],
    ['meter mod modify', 'mod-meter', 'meter=4,kbps,band=type=drop,rate=2000'],
    ['meter mod delete', 'del-meter', 'meter=4'],
    ['meter mod delete all', 'del-meters'],
  ] as [string, ...string[]][]) {
    add(name, 'ovs-ofctl', `ovs-ofctl ${args.join(' ')}`, (await record(ovs, args)).sent.find(ofType(29)));
  }
  await record(ovs, ['add-meter', 'meter=3,pktps,burst,stats,band=type=drop,rate=1000,burst_size=1000']);
  const data = '02420a01000302420a010002080045000020000040004011269a0a0100020a01000300350035000c1234abcdef01';
  const packetOut = `in_port=3,packet=${data},actions=set_field:02:42:0a:00:00:01->eth_src,output:4`;
  const { sent } = await record(ovs, ['packet-out', packetOut]);
  add('packet out', 'ovs-ofctl', `ovs-ofctl packet-out BRIDGE '${packetOut}'`, sent.find(ofType(13)));
  add('barrier request', 'ovs-ofctl', 'after packet-out', sent.find(ofType(20)));
}

async function captureStatistics(ovs: Ovs): Promise<void> {
  await record(ovs, ['del-flows']);
  await record(
    ovs,
    ['add-flows', '-'],
    FLOWS.slice(0, 9)
      .map(([, flow]) => flow)
      .join('\n'),
  );
  const filter = 'cookie=0xda01000000000000/0xffff000000000000,table=2,out_port=4,ip,in_port=3';
  for (const [name, type, ...args] of [
    ['flow stats', 1, 'dump-flows'],
    ['flow stats filtered', 1, 'dump-flows', filter],
    ['aggregate stats', 2, 'dump-aggregate', 'table=2'],
    ['table stats', 3, 'dump-tables'],
    ['desc', 0, 'dump-desc'],
    ['meter stats', 9, 'meter-stats', 'meter=3'],
    ['meter config', 10, 'dump-meters'],
    ['meter features', 11, 'meter-features'],
  ] as [string, number, ...string[]][]) {
    const { sent, answered } = await record(ovs, args).catch(() => ({ sent: [], answered: [] }));
    const how = `ovs-ofctl ${args.join(' ')}`;
    add(`${name} request`, 'ovs-ofctl', how, sent.find(isMultipart(type, false)));
    add(`${name} reply`, 'ovs-vswitchd', how, answered.find(isMultipart(type, true)));
  }
  // Enough flows for a reply in parts.
  const many = Array.from({ length: 900 }, (_, i) => `table=7,ip,nw_dst=10.9.${i >> 8}.${i & 255},actions=output:4`);
  await record(ovs, ['add-flows', '-'], many.join('\n'));
  const { answered } = await record(ovs, ['dump-flows', 'table=7']);
  add(
    'flow stats reply, first part',
    'ovs-vswitchd',
    'ovs-ofctl dump-flows, 900 flows',
    answered.find(isMultipart(1, true)),
  );
}

async function captureBundle(ovs: Ovs): Promise<void> {
  const flows = 'add table=1,priority=1,ip,actions=output:4\ndelete_strict table=1,priority=1,ip\n';
  const { sent, answered } = await record(ovs, ['--bundle', 'add-flows', '-'], flows);
  const control = (type: number) => (message: Buffer) => message[1] === 33 && message.readUInt16BE(12) === type;
  const how = 'ovs-ofctl --bundle add-flows';
  add('bundle open request', 'ovs-ofctl', how, sent.find(control(0)));
  add('bundle open reply', 'ovs-vswitchd', how, answered.find(control(1)));
  const adds = sent.filter(ofType(34));
  add('bundle add: flow mod add', 'ovs-ofctl', how, adds[0]);
  add('bundle add: flow mod delete strict', 'ovs-ofctl', how, adds[1]);
  add('bundle commit request', 'ovs-ofctl', how, sent.find(control(4)));
  add('bundle commit reply', 'ovs-vswitchd', how, answered.find(control(5)));
}

async function captureMonitor(ovs: Ovs): Promise<void> {
  const path = join(ovs.rundir, 'proxy.sock');
  const sent = new Cutter();
  const server = createServer((client) => {
    const bridge = connect(join(ovs.rundir, 'br0.mgmt'));
    client.on('data', (chunk) => (sent.push(chunk), bridge.write(chunk)));
    bridge.on('data', (chunk) => client.write(chunk));
    client.on('close', () => bridge.destroy());
  }).listen(path);
  await once(server, 'listening');
  const { spawn } = await import('node:child_process');
  const args = ['-O', 'OpenFlow14', '-P', 'nxt_packet_in2', 'monitor', `unix:${path}`, '65535'];
  const child = spawn('ovs-ofctl', args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, OVS_RUNDIR: ovs.rundir },
  });
  const wanted = () => sent.messages.some(isNicira(16));
  for (let i = 0; i < 100 && !wanted(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  await new Promise((resolve) => setTimeout(resolve, 300));
  child.kill();
  if (child.exitCode === null) await once(child, 'exit');
  server.close();
  const how = 'ovs-ofctl -P nxt_packet_in2 monitor BRIDGE 65535';
  add('set packet-in format', 'ovs-ofctl', how, sent.messages.find(isNicira(16)));
}

const ROLE = (role: number, generation: string) =>
  `0518001800000009 ${role.toString(16).padStart(8, '0')} 00000000 ${generation}`;

/** What ovs-vswitchd says unasked, or in answer to what ovs-ofctl cannot ask. */
async function captureSwitch(ovs: Ovs): Promise<void> {
  const peer = await Peer.connect(ovs);
  const how = 'asked over a socket';
  peer.send('05140008 00000005');
  add('barrier reply', 'ovs-vswitchd', how, await peer.next(ofType(21)));
  peer.send(ROLE(2, '0000000000000005'));
  add('role reply', 'ovs-vswitchd', how, await peer.next(ofType(25)));
  peer.send('051a0008 00000005');
  add('get async reply', 'ovs-vswitchd', how, await peer.next(ofType(27)));
  peer.send('05ff0008 00000007');
  add('error: bad type', 'ovs-vswitchd', how, await peer.next(ofType(1)));
  peer.send(ROLE(2, '0000000000000001'));
  add('error: stale role', 'ovs-vswitchd', how, await peer.next(ofType(1)));
  peer.send('05040010 00000008 00002320 00000010');
  add('error: bad length', 'ovs-vswitchd', how, await peer.next(ofType(1)));
  // A flow mod with a NXAST_DEC_TTL_CNT_IDS whose reserved bytes are not zero.
  peer.send(
    '050e0060 00000009' +
      '00'.repeat(16) +
      '00000000 00000005 ffffffff ffffffff ffffffff 00000000' +
      '0001000a 80000a02 08000000 00000000 0004 0020 00000000 ffff0018 00002320 0015 0001 01000000 0001 000000000000',
  );
  add('error: of nicira', 'ovs-vswitchd', how, await peer.next(ofType(1)));

  const other = await Peer.connect(ovs);
  other.send(ROLE(2, '0000000000000006'));
  add('role status', 'ovs-vswitchd', 'another controller became master', await peer.next(ofType(30)));
  other.end();
  peer.send(ROLE(2, '0000000000000007'));
  await peer.next(ofType(25));

  // A connection to the bridge's own socket gets nothing unasked before it sets miss_send_len (OFPT_SET_CONFIG).
  peer.send('0509000c 00000001 0000 ffff');
  await ovs.ofctl(
    'add-flow',
    'br0',
    'cookie=0x99,table=11,send_flow_rem,idle_timeout=60,hard_timeout=90,priority=3,ip,nw_dst=10.0.0.9,actions=drop',
  );
  await ovs.ofctl('del-flows', 'br0', 'table=11');
  add('flow removed', 'ovs-vswitchd', 'del-flows of a flow with send_flow_rem', await peer.next(ofType(11)));
  for (const reason of ['add', 'modify', 'delete'] as const) {
    if (reason === 'add')
      await ovs.vsctl('add-port', 'br0', 'late', '--', 'set', 'interface', 'late', 'type=dummy', 'ofport_request=9');
    if (reason === 'modify') await ovs.ofctl('mod-port', 'br0', 'late', 'down');
    if (reason === 'delete') await ovs.vsctl('del-port', 'br0', 'late');
    const number = ['add', 'delete', 'modify'].indexOf(reason);
    add(
      `port status: ${reason}`,
      'ovs-vswitchd',
      `a port: ${reason}`,
      await peer.next((message) => message[1] === 12 && message[8] === number),
    );
  }
  await capturePacketIns(ovs, peer);
  peer.end();
}

async function capturePacketIns(ovs: Ovs, peer: Peer): Promise<void> {
  const packet =
    'in_port(3),eth(src=02:42:0a:01:00:02,dst=02:42:0a:01:00:03),eth_type(0x0800),' +
    'ipv4(src=10.1.0.2,dst=10.1.0.3,proto=6,tos=0,ttl=64,frag=no),tcp(src=1000,dst=80),tcp_flags(syn)';
  const flow = (actions: string) => `cookie=0xda01020304050607,table=0,priority=9,tcp,actions=${actions}`;
  const inject = async (actions: string) => {
    await ovs.ofctl('del-flows', 'br0');
    await ovs.ofctl('add-flow', 'br0', flow(actions));
    await ovs.appctl('netdev-dummy/receive', 'p3', packet);
  };
  await inject('CONTROLLER:65535');
  add('packet in', 'ovs-vswitchd', `netdev-dummy/receive, ${flow('CONTROLLER:65535')}`, await peer.next(ofType(10)));
  peer.send('05040014 00000001 00002320 00000010 00000002');
  for (const [name, actions] of [
    ['bare', 'CONTROLLER:65535'],
    [
      'with userdata and registers',
      'set_field:0x11->reg0,set_field:0x77->reg7,set_field:0x123456789abcdef0->metadata,controller(userdata=01.02.03.04.05)',
    ],
    ['paused', 'controller(userdata=02,pause)'],
  ] as const) {
    await inject(actions);
    add(
      `packet in 2: ${name}`,
      'ovs-vswitchd',
      `netdev-dummy/receive, ${flow(actions)}`,
      await peer.next(isNicira(30)),
    );
  }
}

async function main(): Promise<void> {
  const ovs = await startOvs();
  try {
    await ovs.vsctl(
      'add-br',
      'br0',
      '--',
      'set',
      'bridge',
      'br0',
      'datapath_type=dummy',
      'fail_mode=secure',
      'other_config:datapath-id=0000da01000000aa',
      'other_config:hwaddr=02:da:00:00:00:aa',
      'protocols=[OpenFlow10,OpenFlow13,OpenFlow14]',
    );
    for (const portNo of [3, 4]) {
      await ovs.vsctl(
        'add-port',
        'br0',
        `p${portNo}`,
        '--',
        'set',
        'interface',
        `p${portNo}`,
        'type=dummy',
        `ofport_request=${portNo}`,
      );
    }
    await captureRequests(ovs);
    await captureFlowMods(ovs);
    await captureStatistics(ovs);
    await captureBundle(ovs);
    await captureMonitor(ovs);
    await captureSwitch(ovs);
  } finally {
    await ovs.stop();
  }
  const version = execFileSync('ovs-ofctl', ['--version'], { encoding: 'utf8' }).split('\n')[0];
  writeFileSync(join(process.cwd(), 'test/golden/vectors.json'), JSON.stringify({ version, vectors }, null, 1) + '\n');
  console.log(`${vectors.length} vectors`);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
