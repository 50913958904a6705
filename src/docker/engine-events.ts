// The engine's event stream, kept open: when it ends (dockerd restarts) it is opened again, ever more slowly, and whoever listens is told to
// list everything, because events of the time between are lost.

import type Dockerode from 'dockerode';
import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { CONTAINER_ACTIONS, NETWORK_ACTIONS, parseEvent } from './answers';
import type { DockerHandlers, DockerWatch } from './docker';

export interface EventsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

const OPEN_MS = 5000;
const MIN_PAUSE_MS = 200;
const MAX_PAUSE_MS = 10_000;
/** A stream that lives this long shows that the engine is well. */
const STABLE_MS = 10_000;
const MAX_LINE = 2 ** 20;

const FILTERS = JSON.stringify({
  type: ['container', 'network'],
  event: [...new Set([...CONTAINER_ACTIONS, ...NETWORK_ACTIONS])],
});

export class EngineEvents implements DockerWatch {
  private readonly backoff: Backoff;
  private abort: AbortController | undefined;
  private cancelTimer = (): void => undefined;
  private stopped = false;
  private tail = '';

  constructor(
    private readonly api: Dockerode,
    private readonly options: EventsOptions,
    private readonly handlers: DockerHandlers,
  ) {
    this.backoff = new Backoff(MIN_PAUSE_MS, MAX_PAUSE_MS, options.random);
  }

  start(): void {
    void this.open();
  }

  stop(): void {
    this.stopped = true;
    this.cancelTimer();
    this.abort?.abort();
  }

  private async open(): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    this.tail = '';
    const cancelOpening = this.options.clock.after(OPEN_MS, () => abort.abort());
    try {
      const stream = await this.api.getEvents({ filters: FILTERS, abortSignal: abort.signal });
      let ended = false;
      const end = (reason: string): void => {
        if (ended) return;
        ended = true;
        this.lost(reason);
      };
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => this.read(text));
      stream.on('error', (error) => end(messageOf(error)));
      stream.on('close', () => end('the event stream ended'));
      this.cancelTimer = this.options.clock.after(STABLE_MS, () => this.backoff.succeeded());
      this.tell(() => this.handlers.onConnected());
    } catch (error) {
      this.lost(messageOf(error));
    } finally {
      cancelOpening();
    }
  }

  private lost(reason: string): void {
    if (this.stopped) return;
    this.cancelTimer();
    this.abort?.abort();
    this.cancelTimer = this.options.clock.after(this.backoff.nextMs(), () => void this.open());
    this.tell(() => this.handlers.onDisconnected(reason));
  }

  private read(text: string): void {
    const lines = (this.tail + text).split('\n');
    this.tail = lines.pop() ?? '';
    // Labels of containers are in it, so a line can be long, but not without end.
    if (this.tail.length > MAX_LINE) this.abort?.abort();
    for (const line of lines) this.deliver(line);
  }

  private deliver(line: string): void {
    const parsed = parseEvent(line);
    if (parsed?.type === 'container') this.tell(() => this.handlers.onContainer(parsed.event));
    if (parsed?.type === 'network') this.tell(() => this.handlers.onNetwork(parsed.event));
  }

  /** A handler that throws must not end the stream. */
  private tell(call: () => void): void {
    if (this.stopped) return;
    try {
      call();
    } catch (error) {
      this.options.logger.error('an event of the Docker engine could not be handled', { reason: messageOf(error) });
    }
  }
}
