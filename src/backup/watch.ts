// Who of the hosts that this one watches is there: a judgement from the answers of their agents and from time. A host that is
// stopped, cut off or hangs answers nothing, and is judged as gone soon after its last answer. It knows of no connections; see
// src/cluster/pulse-links.ts.

import type { Clock } from '../base/clock';
import type { PulseState } from '../cluster/pulse-links';

/** `idle`: its agent answers, but is not in charge of its datapath. */
export type Life = 'serving' | 'idle' | 'gone';

/** After the last answer. Three are asked for meanwhile. */
export const GONE_AFTER_MS = 1_500;
/** What nothing was heard of yet has this time, to be connected with. */
const BEGIN_MS = 3_000;
/** What is called later than this was held up here: the others had no chance to be heard. */
const LATE_MS = 250;

interface Watched {
  /** Until when it is as it is, if nothing more is heard. */
  servesUntil: number;
  livesUntil: number;
  /** As it was told last. */
  life: Life;
  cancel: () => void;
}

export class Watch {
  private readonly hosts = new Map<string, Watched>();

  /** `onChange` is called when a host is judged otherwise than before. */
  constructor(
    private readonly clock: Clock,
    private readonly onChange: (host: string, life: Life) => void,
  ) {}

  /** These hosts are watched from now on. New ones count as serving until they had time to be heard. */
  setHosts(names: ReadonlySet<string>): void {
    for (const [name, watched] of this.hosts) {
      if (names.has(name)) continue;
      watched.cancel();
      this.hosts.delete(name);
    }
    for (const name of names) if (!this.hosts.has(name)) this.enter(name);
  }

  /** How a host is; one that is not watched is gone. */
  lifeOf(host: string): Life {
    return this.hosts.get(host)?.life ?? 'gone';
  }

  /** Its agent has answered, or said that it ends. */
  hear(host: string, state: PulseState): void {
    const watched = this.hosts.get(host);
    if (watched === undefined) return;
    const until = state === 'leaving' ? -Infinity : this.clock.now() + GONE_AFTER_MS;
    watched.livesUntil = until;
    if (state !== 'idle') watched.servesUntil = until;
    this.judge(host, watched);
  }

  /** It was seen to be there in another way: it counts as serving as if it were new. */
  presume(host: string): void {
    const watched = this.hosts.get(host);
    if (watched === undefined) return;
    watched.livesUntil = watched.servesUntil = this.clock.now() + BEGIN_MS;
    this.judge(host, watched);
  }

  stop(): void {
    this.setHosts(new Set());
  }

  private enter(host: string): void {
    const until = this.clock.now() + BEGIN_MS;
    const watched: Watched = { servesUntil: until, livesUntil: until, life: 'serving', cancel: () => undefined };
    this.hosts.set(host, watched);
    this.judge(host, watched);
  }

  private judge(host: string, watched: Watched): void {
    watched.cancel();
    const now = this.clock.now();
    const { servesUntil, livesUntil } = watched;
    const life = now < servesUntil ? 'serving' : now < livesUntil ? 'idle' : 'gone';
    const due = life === 'serving' ? servesUntil : livesUntil;
    if (life !== 'gone') watched.cancel = this.clock.after(due - now, () => this.handleDue(host, watched, due));
    if (life === watched.life) return;
    watched.life = life;
    this.onChange(host, life);
  }

  private handleDue(host: string, watched: Watched, due: number): void {
    const now = this.clock.now();
    if (now - due > LATE_MS) {
      watched.livesUntil = Math.max(watched.livesUntil, now + GONE_AFTER_MS);
      if (watched.servesUntil === due) watched.servesUntil = watched.livesUntil;
    }
    this.judge(host, watched);
  }
}
