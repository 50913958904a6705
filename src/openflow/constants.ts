// Numbers of the OpenFlow Switch Specification 1.4.1 and of Open vSwitch's nicira-ext.h, in their grouping and under
// their names without the prefix. Only what this folder uses; error codes stand in error-codes.ts, fields in oxm.ts.

declare const brand: unique symbol;
/** An OpenFlow port number: a port of the datapath, or one of OFPP. Not an L4 port. */
export type PortNo = number & { readonly [brand]: 'PortNo' };

/** The version byte of OpenFlow 1.4. */
export const OFP_VERSION = 0x05;
/** Experimenter id of Nicira, which carries Open vSwitch's extensions. */
export const NX_EXPERIMENTER = 0x00002320;
/** `buffer_id` of a packet that is not buffered. OVS never buffers. */
export const OFP_NO_BUFFER = 0xffffffff;
/** Priority that OVS assumes where none is given. */
export const OFP_DEFAULT_PRIORITY = 0x8000;

/** enum ofp_type. */
export const OFPT = {
  HELLO: 0,
  ERROR: 1,
  ECHO_REQUEST: 2,
  ECHO_REPLY: 3,
  EXPERIMENTER: 4,
  FEATURES_REQUEST: 5,
  FEATURES_REPLY: 6,
  PACKET_IN: 10,
  FLOW_REMOVED: 11,
  PORT_STATUS: 12,
  PACKET_OUT: 13,
  FLOW_MOD: 14,
  MULTIPART_REQUEST: 18,
  MULTIPART_REPLY: 19,
  BARRIER_REQUEST: 20,
  BARRIER_REPLY: 21,
  ROLE_REQUEST: 24,
  ROLE_REPLY: 25,
  GET_ASYNC_REQUEST: 26,
  GET_ASYNC_REPLY: 27,
  SET_ASYNC: 28,
  METER_MOD: 29,
  ROLE_STATUS: 30,
  BUNDLE_CONTROL: 33,
  BUNDLE_ADD_MESSAGE: 34,
} as const;

/** enum ofp_port_no: reserved ports. */
export const OFPP = {
  MAX: 0xffffff00 as PortNo,
  IN_PORT: 0xfffffff8 as PortNo,
  TABLE: 0xfffffff9 as PortNo,
  NORMAL: 0xfffffffa as PortNo,
  FLOOD: 0xfffffffb as PortNo,
  ALL: 0xfffffffc as PortNo,
  CONTROLLER: 0xfffffffd as PortNo,
  LOCAL: 0xfffffffe as PortNo,
  ANY: 0xffffffff as PortNo,
} as const;

/** Group wildcard of flow mods and statistics requests. */
export const OFPG_ANY = 0xffffffff;
/** Table wildcard of deletes and statistics requests. */
export const OFPTT_ALL = 0xff;

/** enum ofp_flow_mod_command. */
export const OFPFC = { ADD: 0, MODIFY: 1, MODIFY_STRICT: 2, DELETE: 3, DELETE_STRICT: 4 } as const;

/** enum ofp_flow_mod_flags. */
export const OFPFF = {
  SEND_FLOW_REM: 1,
  CHECK_OVERLAP: 2,
  RESET_COUNTS: 4,
  NO_PKT_COUNTS: 8,
  NO_BYT_COUNTS: 16,
} as const;

/** enum ofp_packet_in_reason. */
export const OFPR = { NO_MATCH: 0, ACTION: 1, INVALID_TTL: 2, ACTION_SET: 3, GROUP: 4, PACKET_OUT: 5 } as const;

/** enum ofp_flow_removed_reason. */
export const OFPRR = {
  IDLE_TIMEOUT: 0,
  HARD_TIMEOUT: 1,
  DELETE: 2,
  GROUP_DELETE: 3,
  METER_DELETE: 4,
  EVICTION: 5,
} as const;

/** enum ofp_port_reason. */
export const OFPPR = { ADD: 0, DELETE: 1, MODIFY: 2 } as const;

/** enum ofp_port_config: what an administrator set. */
export const OFPPC = { PORT_DOWN: 1, NO_RECV: 4, NO_FWD: 32, NO_PACKET_IN: 64 } as const;

/** enum ofp_port_state: what the datapath sees. */
export const OFPPS = { LINK_DOWN: 1, BLOCKED: 2, LIVE: 4 } as const;

/** enum ofp_multipart_type. */
export const OFPMP = {
  DESC: 0,
  FLOW: 1,
  AGGREGATE: 2,
  TABLE: 3,
  METER: 9,
  METER_CONFIG: 10,
  METER_FEATURES: 11,
  PORT_DESC: 13,
} as const;
/** OFPMPF_REQ_MORE and OFPMPF_REPLY_MORE: further parts follow. */
export const OFPMPF_MORE = 1;

/** enum ofp_instruction_type. */
export const OFPIT = {
  GOTO_TABLE: 1,
  WRITE_METADATA: 2,
  WRITE_ACTIONS: 3,
  APPLY_ACTIONS: 4,
  CLEAR_ACTIONS: 5,
  METER: 6,
} as const;

/** enum ofp_action_type. */
export const OFPAT = { OUTPUT: 0, DEC_NW_TTL: 24, SET_FIELD: 25, EXPERIMENTER: 0xffff } as const;

/** enum nx_action_subtype. */
export const NXAST = {
  RESUBMIT: 1,
  REG_MOVE: 6,
  REG_LOAD: 7,
  RESUBMIT_TABLE: 14,
  OUTPUT_REG: 15,
  CONTROLLER: 20,
  REG_LOAD2: 33,
  CONTROLLER2: 37,
  CHECK_PKT_LARGER: 49,
} as const;

/** enum nx_action_controller2_prop_type. */
export const NXAC2PT = { MAX_LEN: 0, CONTROLLER_ID: 1, REASON: 2, USERDATA: 3, PAUSE: 4, METER_ID: 5 } as const;

/** Nicira message subtypes. */
export const NXT = { SET_PACKET_IN_FORMAT: 16, PACKET_IN2: 30 } as const;

/** enum nx_packet_in_format. */
export const NXPIF = { STANDARD: 0, NXT_PACKET_IN: 1, NXT_PACKET_IN2: 2 } as const;

/** enum nx_packet_in2_prop_type. */
export const NXPINT = {
  PACKET: 0,
  FULL_LEN: 1,
  BUFFER_ID: 2,
  TABLE_ID: 3,
  COOKIE: 4,
  REASON: 5,
  METADATA: 6,
  USERDATA: 7,
  CONTINUATION: 8,
} as const;

/** enum ofp_controller_role. */
export const OFPCR = { NOCHANGE: 0, EQUAL: 1, MASTER: 2, SLAVE: 3 } as const;
/** enum ofp_controller_role_reason. */
export const OFPCRR = { MASTER_REQUEST: 0, CONFIG: 1, EXPERIMENTER: 2 } as const;

/** enum ofp_meter_mod_command. */
export const OFPMC = { ADD: 0, MODIFY: 1, DELETE: 2 } as const;
/** enum ofp_meter_flags. */
export const OFPMF = { KBPS: 1, PKTPS: 2, BURST: 4, STATS: 8 } as const;
/** enum ofp_meter_band_type. */
export const OFPMBT = { DROP: 1, DSCP_REMARK: 2, EXPERIMENTER: 0xffff } as const;
/** All meters, in deletes and statistics requests. */
export const OFPM_ALL = 0xffffffff;

/** enum ofp_async_config_prop_type: which asynchronous messages a controller gets, per role. */
export const OFPACPT = {
  PACKET_IN_SLAVE: 0,
  PACKET_IN_MASTER: 1,
  PORT_STATUS_SLAVE: 2,
  PORT_STATUS_MASTER: 3,
  FLOW_REMOVED_SLAVE: 4,
  FLOW_REMOVED_MASTER: 5,
  ROLE_STATUS_SLAVE: 6,
  ROLE_STATUS_MASTER: 7,
  TABLE_STATUS_SLAVE: 8,
  TABLE_STATUS_MASTER: 9,
  REQUESTFORWARD_SLAVE: 10,
  REQUESTFORWARD_MASTER: 11,
} as const;

/** enum ofp_bundle_ctrl_type. */
export const OFPBCT = {
  OPEN_REQUEST: 0,
  OPEN_REPLY: 1,
  CLOSE_REQUEST: 2,
  CLOSE_REPLY: 3,
  COMMIT_REQUEST: 4,
  COMMIT_REPLY: 5,
  DISCARD_REQUEST: 6,
  DISCARD_REPLY: 7,
} as const;
/** enum ofp_bundle_flags. */
export const OFPBF = { ATOMIC: 1, ORDERED: 2 } as const;
