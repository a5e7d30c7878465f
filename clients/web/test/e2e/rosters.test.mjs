// Random schedules of joins, leaves and bursts around one session whose connections break and stall: at the end its
// roster names exactly the members who are still there. In Node, with the library as it is published.
// ROSTER_SEEDS=100 runs fewer schedules, ROSTER_SEED=7 replays one.

import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from '../../dist/lib/index.js';
import { missing, startProxy, startServer, until } from './harness.mjs';

const skip = missing();
const AT_ONCE = 100;
const SETTLE_MS = 20_000;
const WINDOW = '3s';

test('rosters agree after random schedules with stalled connections', { skip }, async (t) => {
  const limits = ['--resume-window', WINDOW, '--max-signals-per-second', '100000', '--signal-burst', '100000'];
  const server = await startServer(t, { args: [...limits, '--max-message-bytes', '131072'] });
  const { ROSTER_SEED, ROSTER_SEEDS = '1000' } = process.env;
  const first = Number(ROSTER_SEED ?? 0);
  const end = ROSTER_SEED === undefined ? Number(ROSTER_SEEDS) : first + 1;
  let next = first;
  const worker = async () => {
    while (next < end) await schedule(server, next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
});

async function schedule(server, seed) {
  const random = generator(seed);
  const between = (from, to) => from + Math.floor(random() * (to - from));
  const room = `roster-${seed}`;
  const cleanups = [];
  const proxy = await startProxy({ after: (cleanup) => cleanups.push(cleanup) }, server.port);
  const observer = await join(room, { url: proxy.url });
  // The roster as an application builds it from the events, in addition to the library's own.
  const heard = new Set(observer.members.keys());
  observer.on('memberJoined', (member) => heard.add(member.memberId));
  observer.on('memberLeft', ({ member }) => heard.delete(member.memberId));
  observer.on('rejoined', () => {
    heard.clear();
    for (const id of observer.members.keys()) heard.add(id);
  });
  const talker = await join(room, { url: server.url });
  const visitors = [];
  try {
    for (let step = between(8, 20); step > 0; step--) {
      const act = between(0, 12);
      if (act < 3) visitors.push(await join(room, { url: server.url }));
      else if (act < 6 && visitors.length > 0) await visitors.splice(between(0, visitors.length), 1)[0].leave();
      else if (act < 8) proxy.break();
      else if (act < 10) await proxy.stall(between(10, 150));
      else {
        const { memberId } = observer.me;
        for (let count = between(4, 16); count > 0; count--) {
          talker.sendData({ to: memberId, text: 'x'.repeat(16 * 1024) });
        }
      }
      // The pace of the schedule.
      await sleep(between(0, 60));
    }
    // The last to join, and so the last of which the observer learns.
    const witness = await join(room, { url: server.url });
    visitors.push(witness);
    const there = [talker, ...visitors].map((session) => session.me.memberId).sort();
    const same = (ids) => JSON.stringify([...ids].sort()) === JSON.stringify(there);
    await until(
      `schedule ${seed}: the members ${there} to be known, and no others`,
      () => same(observer.members.keys()) && same(heard),
      SETTLE_MS,
    ).catch((error) => {
      throw new Error(`${error.message}; known ${[...observer.members.keys()]}, by events ${[...heard]}`);
    });
  } finally {
    await Promise.allSettled([observer, talker, ...visitors].map((session) => session.leave()));
    for (const cleanup of cleanups) cleanup();
  }
}

/** Random numbers in [0, 1) that are the same for the same seed (mulberry32). */
function generator(seed) {
  let state = seed * 2654435761;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
