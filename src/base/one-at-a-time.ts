// Work that is asked for again and again, as by changes that come in: one run at a time, and another one for whoever asked
// meanwhile, however late. It is the moment between the end of a run and the next that is easily lost.

export class OneAtATime {
  private running: Promise<void> | undefined;
  private isDue = false;

  /** `work` does all that there is to do, and does not reject. */
  constructor(private readonly work: () => Promise<void>) {}

  /** Runs `work` now, or again when the run that is under way has ended. */
  ask(): void {
    this.isDue = true;
    this.running ??= this.run();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  private async run(): Promise<void> {
    while (this.isDue) {
      this.isDue = false;
      await this.work();
    }
    // In the same turn as the last look at isDue: whoever asks from now on begins anew.
    this.running = undefined;
  }
}
