// Containers of the Docker engine by its API on a unix socket, through dockerode: looked at, made, started and removed.

import Dockerode from 'dockerode';
import { z } from 'zod';
import { readContainer, type ContainerDescription } from './container-description';
import { MAX_STOP_SECONDS, type Containers, type DockerImage } from './containers';
import { bounded, orDone, orGone, orRefused, type CallOptions } from './engine-calls';

const LOOK_MS = 5_000;
const CHANGE_MS = 30_000;

const FRAME_HEAD = 8;
const LAST_LINES = 3;
const LAST_CHARACTERS = 300;

const VERSION = z.object({ ApiVersion: z.string() });
const IMAGE = z.object({
  Id: z.string(),
  RepoDigests: z.array(z.string()).nullish(),
  RootFS: z.object({ Layers: z.array(z.string()).nullish() }).nullish(),
});
const CHANGES = z.array(z.object({ Path: z.string() })).nullish();
const STATS = z.object({
  memory_stats: z.object({ usage: z.number().nullish(), stats: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

export class EngineContainers implements Containers {
  private readonly api: Dockerode;

  constructor(private readonly options: CallOptions) {
    this.api = new Dockerode({ socketPath: options.socketPath });
  }

  apiVersion(): Promise<string> {
    return this.look(async () => VERSION.parse(await this.api.version()).ApiVersion);
  }

  readContainer(idOrName: string): Promise<ContainerDescription | undefined> {
    return this.look(async () => {
      const answer = await orGone<unknown>(this.api.getContainer(idOrName).inspect());
      return answer === undefined ? undefined : readContainer(answer);
    });
  }

  readImage(reference: string): Promise<DockerImage | undefined> {
    return this.look(async () => {
      const answer = await orGone<unknown>(this.api.getImage(reference).inspect());
      if (answer === undefined) return undefined;
      const { Id: id, RepoDigests, RootFS } = IMAGE.parse(answer);
      return { id, digests: RepoDigests ?? [], layers: RootFS?.Layers ?? [] };
    });
  }

  hasVolume(name: string): Promise<boolean> {
    return this.look(async () => (await orGone<unknown>(this.api.getVolume(name).inspect())) !== undefined);
  }

  hasNetwork(name: string): Promise<boolean> {
    return this.look(async () => (await orGone<unknown>(this.api.getNetwork(name).inspect())) !== undefined);
  }

  memoryInUse(id: string): Promise<number> {
    return this.look(async () => {
      const answer: unknown = await orRefused(this.api.getContainer(id).stats({ stream: false, 'one-shot': true }));
      const { usage, stats } = STATS.parse(answer).memory_stats ?? {};
      // As `docker stats` counts it, on either version of cgroups.
      const dropped = stats?.['total_inactive_file'] ?? stats?.['inactive_file'];
      return Math.max(0, (usage ?? 0) - (typeof dropped === 'number' ? dropped : 0));
    });
  }

  changedFiles(id: string): Promise<string[]> {
    return this.look(async () => {
      const answer: unknown = await orRefused(this.api.getContainer(id).changes());
      return (CHANGES.parse(answer) ?? []).map(({ Path }) => Path);
    });
  }

  lastOutput(id: string): Promise<string> {
    return this.look(async () => {
      const logs = this.api.getContainer(id).logs({ stdout: true, stderr: true, tail: LAST_LINES, follow: false });
      return textOfLogs((await orGone(logs)) ?? Buffer.alloc(0)).slice(0, LAST_CHARACTERS);
    });
  }

  createContainer(name: string, request: Readonly<Record<string, unknown>>): Promise<string> {
    return this.change(async () => {
      const { id } = await orRefused(this.api.createContainer({ ...request, name }));
      return id;
    });
  }

  connect(network: string, container: string, request: { readonly EndpointConfig: object }): Promise<void> {
    return this.change(async () => {
      await orRefused<unknown>(this.api.getNetwork(network).connect({ ...request, Container: container }));
    });
  }

  disconnect(network: string, container: string): Promise<void> {
    return this.change(async () => {
      await orRefused<unknown>(this.api.getNetwork(network).disconnect({ Container: container, Force: true }));
    });
  }

  rename(id: string, name: string): Promise<void> {
    return this.change(async () => {
      await orRefused<unknown>(this.api.getContainer(id).rename({ name }));
    });
  }

  start(id: string): Promise<void> {
    return this.change(() => orRefused(orDone(this.api.getContainer(id).start())));
  }

  stop(id: string, stopSeconds: number): Promise<void> {
    const seconds = stopSeconds < 0 ? MAX_STOP_SECONDS : Math.min(stopSeconds, MAX_STOP_SECONDS);
    return this.change(() => orRefused(orGone(orDone(this.api.getContainer(id).stop()))), seconds * 1000 + CHANGE_MS);
  }

  remove(id: string): Promise<void> {
    return this.change(async () => {
      await orRefused(orGone<unknown>(this.api.getContainer(id).remove({ force: true, v: false })));
    });
  }

  forgetRestartPolicy(id: string): Promise<void> {
    return this.change(async () => {
      await orRefused<unknown>(this.api.getContainer(id).update({ RestartPolicy: { Name: 'no' } }));
    });
  }

  private look<T>(call: () => Promise<T>): Promise<T> {
    return bounded(this.options, LOOK_MS, call);
  }

  private change<T>(call: () => Promise<T>, limitMs = CHANGE_MS): Promise<T> {
    return bounded(this.options, limitMs, call);
  }
}

/** Without the heads of its frames: stream (0 to 2), three zeros, length. A terminal's output has none. */
export function textOfLogs(logs: Buffer): string {
  const texts: Buffer[] = [];
  let rest = logs;
  while (rest.length >= FRAME_HEAD && (rest[0] ?? 0) <= 2 && rest.readUIntBE(1, 3) === 0) {
    const end = FRAME_HEAD + rest.readUInt32BE(4);
    texts.push(rest.subarray(FRAME_HEAD, end));
    rest = rest.subarray(end);
  }
  return Buffer.concat([...texts, rest])
    .toString('utf8')
    .trim();
}
