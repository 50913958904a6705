// Random flows made such that OVS takes them.
import type { Action } from '../../src/openflow/action';
import type { FlowMod } from '../../src/openflow/flow-mod';

const IPV4 = 0x0800;
const LATER = 3;

function needsIpv4(action: Action): boolean {
  if (action.type === 'decTtl') return true;
  if (action.type === 'setField') return action.field === 'ipv4Src';
  if (action.type === 'load' || action.type === 'checkPktLarger') return action.destination.field === 'ipv4Dst';
  return action.type === 'outputReg' && action.source.field === 'ipv4Dst';
}

/** What OVS takes into an action set. */
const SET_ACTIONS = ['output', 'setField', 'move', 'load', 'decTtl', 'resubmit'];

/** The flow without what OVS refuses for its sense: fields without their prerequisites, a way back to an earlier table. */
export function sensible(flow: FlowMod): FlowMod {
  const { cookieMask: _, gotoTable, meter, actions, writeActions, match, ...rest } = flow;
  const { ndSll, tcpSrc, tcpDst, udpSrc, udpDst, sctpSrc, sctpDst, icmpv4Type, icmpv4Code, ...common } = match;
  const l4 = { tcpSrc, tcpDst, udpSrc, udpDst, sctpSrc, sctpDst, icmpv4Type, icmpv4Code };
  const fits = (action: Action) => match.ethType === IPV4 || !needsIpv4(action);
  const kept = actions?.filter(fits);
  const known: Record<string, unknown> = {
    ...common,
    // Neighbour discovery: type 135 or 136, code 0.
    ...(common.ndTarget !== undefined || ndSll !== undefined
      ? { icmpv6Type: common.icmpv6Type ?? 135, icmpv6Code: 0 }
      : {}),
    ...(match.ipFrag === LATER ? {} : l4),
    ndSll: match.icmpv6Type === 136 ? undefined : ndSll,
  };
  return {
    ...rest,
    match: Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)),
    ...(meter === undefined ? {} : { meter: meter + 1 }),
    ...(gotoTable === undefined || flow.table >= 254 ? {} : { gotoTable: Math.max(gotoTable, flow.table + 1) }),
    ...(kept === undefined || kept.length === 0 ? {} : { actions: kept }),
    ...(writeActions && { writeActions: writeActions.filter((each) => fits(each) && SET_ACTIONS.includes(each.type)) }),
  };
}
