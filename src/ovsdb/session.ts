// What a client does on one connection, the state machine of OVS's lib/ovsdb-cs.c: look at the server's own database to
// see whether it will do, then start or resume the monitors, then watch both. It ends with its connection.

import type { Connection } from './connection';
import type { OvsdbError } from './errors';
import { NotConnected, ProtocolError, UnknownDatabase, UnknownMethod } from './errors';
import { MONITOR_METHODS, type Monitor, type MonitorMethod } from './monitor';
import { RowCache } from './row-cache';
import type { StoredRow } from './rows';
import { parseSchema, type DatabaseSchema, type SchemaParser } from './schema';
import { refusal, SERVER_DATABASE_COLUMNS, type ServerDatabase, type ServerDemands } from './server-database';

export type SessionState =
  | 'server-schema-requested' // what does _Server look like?
  | 'server-monitor-requested' // what does it say of our database?
  | 'data-schema-requested' // only where _Server is missing, or took our monitors away
  | 'data-monitor-requested' // all monitors asked for, not all answered
  | 'monitoring'; // ready

export interface SessionListener {
  onState(state: SessionState): void;
  /** The server's row for our database came or changed, and the server will do. */
  onServer(row: StoredRow<ServerDatabase>): void;
  onReady(schema: DatabaseSchema): void;
  /** The session cannot go on: the connection is to be closed. */
  onFailed(error: OvsdbError): void;
}

export interface SessionOptions {
  readonly database: string;
  readonly demands: ServerDemands;
  readonly schemas: SchemaParser;
  readonly monitors: () => Iterable<Monitor>;
}

const SERVER_DATABASE = '_Server';
const SERVER_MONITOR_ID = '_Server';
/** Every server that has _Server knows monitor_cond. */
const SERVER_DIALECT = 2;

export class Session {
  private state: SessionState = 'server-schema-requested';
  private server: RowCache | undefined;
  private row: StoredRow<ServerDatabase> | undefined;
  private schema: DatabaseSchema | undefined;
  private method: MonitorMethod = 'monitor_cond_since';
  /** Counts the starts of the data monitors: answers that belong to an earlier one are passed over. */
  private round = 0;
  private unanswered = 0;

  constructor(
    private readonly connection: Connection,
    private readonly options: SessionOptions,
    private readonly listener: SessionListener,
  ) {}

  /** The connection is open. */
  start(): void {
    this.listener.onState(this.state);
    this.connection.request('get_schema', [SERVER_DATABASE], (error, schema) => {
      if (error instanceof UnknownDatabase) this.requestDataSchema();
      else if (error) this.listener.onFailed(error);
      else this.requestServerMonitor(parseSchema(schema));
    });
  }

  /** Starts a monitor on a connection that is past the look at the server; else it starts with the others. */
  addMonitor(monitor: Monitor): void {
    const hasBegun = this.state === 'data-monitor-requested' || this.state === 'monitoring';
    if (hasBegun && this.schema !== undefined) this.beginMonitor(monitor, this.schema);
  }

  /** Asks for the rows of the conditions that the monitor wants, if it is time to. */
  changeConditions(monitor: Monitor): void {
    const { round } = this;
    const params = monitor.beginConditions();
    if (params === undefined) return;
    const { id } = monitor;
    this.connection.requestLong('monitor_cond_change', params, (error) => {
      if (round !== this.round || monitor.id !== id) return;
      if (error) {
        this.listener.onFailed(error);
        return;
      }
      monitor.handleConditionsAnswered();
      this.changeConditions(monitor);
    });
  }

  handleUpdate(method: string, params: readonly unknown[]): void {
    const [id] = params;
    if (id === SERVER_MONITOR_ID) {
      if (method === 'monitor_canceled') throw new ProtocolError('the server cancelled the monitor of _Server');
      this.server?.apply(SERVER_DIALECT, params[1]);
      this.judge();
      return;
    }
    for (const monitor of this.options.monitors()) {
      if (monitor.id !== id) continue;
      if (method === 'monitor_canceled') this.requestDataSchema();
      else monitor.handleUpdate(params);
    }
  }

  private enter(state: SessionState): void {
    if (this.state === state) return;
    this.state = state;
    this.listener.onState(state);
  }

  private requestServerMonitor(schema: DatabaseSchema): void {
    const known = schema.tables.get('Database')?.columns;
    if (known === undefined) throw new ProtocolError('_Server has no table Database');
    const columns = SERVER_DATABASE_COLUMNS.filter((column) => known.has(column));
    this.server = new RowCache(schema, new Map([['Database', columns]]));
    this.enter('server-monitor-requested');
    // Without it the server closes connections when a database changes. An older one knows only that: no answer matters.
    this.connection.request('set_db_change_aware', [true], () => {});
    const params = [SERVER_DATABASE, SERVER_MONITOR_ID, { Database: [{ columns }] }];
    this.connection.request('monitor_cond', params, (error, updates) => {
      if (error) {
        this.listener.onFailed(error);
        return;
      }
      this.server?.replace(SERVER_DIALECT, updates);
      this.judge();
    });
  }

  /** Holds the server's row against what we need; a new one, or a new schema in it, starts the monitors (again). */
  private judge(): void {
    const rows = [...(this.server?.rows('Database').values() ?? [])] as unknown as Array<StoredRow<ServerDatabase>>;
    const row = rows.find(({ name }) => name === this.options.database);
    const reason = refusal(row, this.options.demands);
    if (row === undefined || reason !== undefined) {
      this.listener.onFailed(new NotConnected(reason ?? 'no database'));
      return;
    }
    const before = this.row;
    this.row = row;
    this.listener.onServer(row);
    if (before?.schema === row.schema && before?._uuid === row._uuid) return;
    // The row's uuid is the database's generation: with a new one it was removed and added again.
    if (before !== undefined) this.forgetAll();
    this.beginData(this.options.schemas.parse(row.schema ?? ''));
  }

  private requestDataSchema(): void {
    this.forgetAll();
    this.round += 1;
    const { round } = this;
    this.enter('data-schema-requested');
    this.connection.request('get_schema', [this.options.database], (error, schema) => {
      if (round !== this.round) return;
      if (error) this.listener.onFailed(error);
      else this.beginData(this.options.schemas.parse(JSON.stringify(schema)));
    });
  }

  private forgetAll(): void {
    for (const monitor of this.options.monitors()) monitor.forget();
  }

  private beginData(schema: DatabaseSchema): void {
    if (schema.name !== this.options.database) throw new ProtocolError(`the schema is that of ${schema.name}`);
    this.schema = schema;
    this.round += 1;
    this.unanswered = 0;
    this.enter('data-monitor-requested');
    for (const monitor of this.options.monitors()) this.beginMonitor(monitor, schema);
    this.becomeReadyIfDone();
  }

  private beginMonitor(monitor: Monitor, schema: DatabaseSchema): void {
    const { round, method } = this;
    this.unanswered += 1;
    const params = monitor.begin(method, schema);
    const { id } = monitor;
    this.connection.requestLong(method, params, (error, result) => {
      if (round !== this.round) return;
      this.unanswered -= 1;
      const next = MONITOR_METHODS[MONITOR_METHODS.indexOf(method) + 1];
      if (error instanceof UnknownMethod && next !== undefined) {
        this.method = next;
        this.beginMonitor(monitor, schema);
      } else if (error) {
        this.listener.onFailed(error);
      } else {
        if (monitor.id === id) monitor.handleReply(result);
        if (monitor.id === id) this.changeConditions(monitor);
        this.becomeReadyIfDone();
      }
    });
  }

  private becomeReadyIfDone(): void {
    if (this.unanswered > 0 || this.state !== 'data-monitor-requested' || this.schema === undefined) return;
    this.enter('monitoring');
    this.listener.onReady(this.schema);
  }
}
