// Starts the native members of testing/interop, and waits for their events.

import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = resolve(new URL('../../../../', import.meta.url).pathname);
const INTEROP = resolve(ROOT, 'testing/interop');
const DEADLINE_MS = 15_000;

const aiortc = (version) => {
  const packages = resolve(ROOT, `.cache/aiortc-${version}`);
  const command = ['python3', resolve(INTEROP, 'aiortc_member.py')];
  return {
    name: `aiortc ${version}`,
    command,
    env: { PYTHONPATH: packages },
    needs: packages,
    isLimited: true,
    offersTransceivers: true,
  };
};

/**
 * The stacks. `needs` is what scripts/test.sh installs. A limited one cannot restart ICE, roll back, or offer after an
 * answer: it opens a new connection instead.
 * `offersTransceivers`: whether the stack can answer an offer after it has offered another transceiver itself.
 */
export const STACKS = [
  aiortc('1.16.0'),
  // The last version that accepts `actpass` only as the DTLS role of an offer.
  { ...aiortc('1.8.0'), strictRole: true },
  {
    name: 'werift',
    command: [process.execPath, resolve(INTEROP, 'werift_member.mjs')],
    env: {},
    needs: resolve(INTEROP, 'node_modules/werift'),
    isLimited: false,
    offersTransceivers: false,
  },
];

/** Starts a member that joins `room` and connects to the only other member. */
export async function startMember(stack, url, room, flags = []) {
  const [program, ...args] = stack.command;
  const child = spawn(program, [...args, new URL(url).host, room, ...flags], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...stack.env },
  });
  const member = new NativeMember(child);
  await member.next('joined');
  return member;
}

class NativeMember {
  #child;
  #exited;
  #events = [];
  #waiting = new Set();

  constructor(child) {
    this.#child = child;
    this.#exited = new Promise((done) => child.once('exit', done));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (process.env.DEBUG_PAGE) console.log(`[member] ${line}`);
      this.#events.push(JSON.parse(line));
      for (const check of [...this.#waiting]) check();
    });
    child.stdin.on('error', () => {});
  }

  /** The events until now that have a name. */
  events(name) {
    return this.#events.filter(({ event }) => event === name);
  }

  /** Number of events until now, to wait for later ones. */
  get mark() {
    return this.#events.length;
  }

  /** Writes a command. */
  command(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Waits for an event after `mark`. */
  next(name, { mark = 0, where = () => true } = {}) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle(value);
      };
      const check = () => {
        const found = this.#events.slice(mark).find((event) => event.event === name && where(event));
        if (found) finish(resolve, found);
      };
      const timer = setTimeout(() => {
        const seen = this.#events.slice(mark).filter(({ event }) => event !== 'frames' && event !== 'candidate');
        const text = seen.map((event) => JSON.stringify(event)).join('\n');
        finish(reject, new Error(`no event "${name}" of the member within ${DEADLINE_MS} ms, but:\n${text}`));
      }, DEADLINE_MS);
      this.#waiting.add(check);
      check();
    });
  }

  /** Ends the program. */
  async stop() {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
