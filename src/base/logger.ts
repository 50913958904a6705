// The one logger of the process (winston), made by the composition root and handed down. Only edges log: HTTP, timers,
// connections. Lines are `level message key=value`, because they end in dockerd's log, which adds time and plugin id.

import winston from 'winston';

/** What the rest of the code sees of a logger. `fields` are ids: networkId, endpointId, portNo. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

function formatFields(fields: Record<string, unknown>): string {
  return Object.entries(fields)
    .map(
      ([key, value]) => ` ${key}=${typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`,
    )
    .join('');
}

/** A logger to standard output. */
export function createLogger(level: LogLevel): Logger {
  return winston.createLogger({
    level,
    format: winston.format.printf(
      ({ level, message, ...fields }) => `${level} ${String(message)}${formatFields(fields)}`,
    ),
    transports: [new winston.transports.Console()],
  });
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
