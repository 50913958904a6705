// A headless Chromium and the agent's page in it, as `daolictl web` gives it to somebody's browser. For tests that look at the page,
// and for its picture in the README.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { launch, type Browser, type Page } from 'puppeteer-core';
import type { Host } from '../../../lab/host';

const CHROMIUM = '/usr/bin/chromium';
const SIZE = { width: 1280, height: 800 };

/** What is drawn, as the graph library has it. */
export interface Drawn {
  readonly id: string;
  readonly label: string;
  readonly kind: 'node' | 'edge';
  readonly classes: readonly string[];
  /** On the screen. */
  readonly x: number;
  readonly y: number;
}

/** `daolictl web`, which runs on this machine for a host's agent. */
export class WebCommand {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(host: Host, ...args: string[]): Promise<WebCommand> {
    const [program = '', ...command] = host.daolictlCommand();
    const child = spawn(program, [...command, 'web', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /http:\S+/.exec(line)?.[0];
      if (url !== undefined) return new WebCommand(child, url);
    }
    throw new Error('daolictl web has printed no address');
  }

  /** As Ctrl-C does it. Resolves with its exit code. */
  async stop(): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const ended = once(this.child, 'exit') as Promise<[number | null]>;
    this.child.kill('SIGINT');
    return (await ended)[0];
  }
}

export class PageView {
  private constructor(
    private readonly browser: Browser,
    private readonly folder: string,
    readonly page: Page,
    /** What the browser has complained about: errors of the page, rules that were broken, what could not be read. */
    readonly complaints: string[],
  ) {}

  static async open(url: string): Promise<PageView> {
    const folder = mkdtempSync(join(tmpdir(), `daolinet-browser-${process.pid}-`));
    // The tests run as root, which Chromium's own sandbox does not take.
    const args = ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'];
    const browser = await launch({ executablePath: CHROMIUM, headless: true, userDataDir: folder, args });
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => {
        if (['error', 'warn'].includes(message.type())) complaints.push(message.text());
      });
      await page.setViewport(SIZE);
      await page.goto(url, { waitUntil: 'domcontentloaded' });
      await page.waitForSelector('#graph canvas');
      return new PageView(browser, folder, page, complaints);
    } catch (error) {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.browser.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** All that is drawn. */
  drawn(): Promise<Drawn[]> {
    return this.page.evaluate(() => {
      // The library keeps itself at its element.
      const graph = document.getElementById('graph');
      const { left, top } = graph.getBoundingClientRect();
      return graph._cyreg.cy.elements().map((element) => {
        const isNode = element.isNode();
        const { x, y } = isNode ? element.renderedPosition() : element.renderedMidpoint();
        const label = element.data('label') ?? '';
        const kind = isNode ? ('node' as const) : ('edge' as const);
        return { id: element.id(), label, kind, classes: [...element.classes()], x: left + x, y: top + y };
      });
    });
  }

  /** Containers by their names, without the ports below. */
  async containers(): Promise<Map<string, Drawn>> {
    const drawn = await this.drawn();
    const containers = drawn.filter(({ classes }) => classes.includes('container'));
    return new Map(containers.map((each) => [each.label.split('\n')[0] ?? '', each]));
  }

  /** The live connections that are drawn: "ann bob" each, in the order of names; those that fade are none. */
  async connections(): Promise<string[]> {
    const drawn = await this.drawn();
    const names = new Map(drawn.map(({ id, label }) => [id, label.split('\n')[0]]));
    return drawn
      .filter(({ classes }) => classes.includes('connection') && !classes.includes('going'))
      .map(({ id }) =>
        id
          .split(' ')
          .map((end) => names.get(end))
          .sort()
          .join(' '),
      ) // prettier-ignore
      .sort();
  }

  /** Clicks a container where it is drawn. */
  async click(name: string, key?: 'Shift'): Promise<void> {
    const found = (await this.containers()).get(name);
    if (found === undefined) throw new Error(`container ${name} is not drawn`);
    if (key !== undefined) await this.page.keyboard.down(key);
    await this.page.mouse.click(found.x, found.y);
    if (key !== undefined) await this.page.keyboard.up(key);
  }

  /** Clicks the button with that text in a panel. */
  async press(panel: string, text: string): Promise<void> {
    await this.page.locator(`#${panel} ::-p-xpath(.//button[normalize-space()='${text}'])`).click();
  }

  /** What a panel says. */
  text(selector: string): Promise<string> {
    return this.page.$eval(selector, (element) => (element as unknown as { innerText: string }).innerText);
  }
}

/** As far as it is used here: the tests' types know no browser. */
interface LibraryElement {
  getBoundingClientRect(): { readonly left: number; readonly top: number };
  readonly _cyreg: {
    readonly cy: {
      elements(): {
        map<T>(use: (element: LibraryThing) => T): T[];
      };
    };
  };
}
interface LibraryThing {
  id(): string;
  isNode(): boolean;
  data(name: 'label'): string | undefined;
  classes(): string[];
  renderedPosition(): { readonly x: number; readonly y: number };
  renderedMidpoint(): { readonly x: number; readonly y: number };
}
declare const document: { getElementById(id: string): LibraryElement };
