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
/** It has twice the time with each time that it came back and did not say that it is in charge, and this at most. */
const MAX_BEGIN_MS = 12_000;
/** What is called later than this was held up here: the others had no chance to be heard. */
const LATE_MS = 250;

interface Watched {
  /** Until when it is as it is, if nothing more is heard. */
  servesUntil: number;
  livesUntil: number;
  /** What it is given where it is seen otherwise than by its answers, and until when it was given that. */
  grantMs: number;
  grantedUntil: number;
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
    if (state === 'serving') watched.grantMs = BEGIN_MS;
    if (state === 'leaving') watched.grantedUntil = -Infinity;
    this.judge(host, watched);
  }

  /**
   * It was seen to be there in another way: it counts as serving as if it were new, and longer each time until it has said that
   * it serves. So two do not take a datapath from each other again and again. What is seen twice at once counts once.
   */
  presume(host: string): void {
    const watched = this.hosts.get(host);
    if (watched === undefined) return;
    const now = this.clock.now();
    if (now >= watched.grantedUntil) {
      watched.grantedUntil = now + watched.grantMs;
      watched.grantMs = Math.min(2 * watched.grantMs, MAX_BEGIN_MS);
    }
    watched.livesUntil = Math.max(watched.livesUntil, watched.grantedUntil);
    watched.servesUntil = Math.max(watched.servesUntil, watched.grantedUntil);
    this.judge(host, watched);
  }

  stop(): void {
    this.setHosts(new Set());
  }

  private enter(host: string): void {
    const until = this.clock.now() + BEGIN_MS;
    const watched: Watched = {
      servesUntil: until,
      livesUntil: until,
      grantMs: BEGIN_MS,
      grantedUntil: -Infinity,
      life: 'serving',
      cancel: () => undefined,
    };
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
