// Random schedules of joins, leaves and bursts around one session whose connections break and stall. At the end its
// roster contains exactly the remaining members. Runs in Node with the built library.
// ROSTER_SEEDS=100 runs fewer schedules, ROSTER_SEED=7 replays one.

import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from '../../dist/lib/index.js';
import { missing, startProxy, startServer, until } from './harness.mjs';

const skip = missing();
const CONCURRENCY = 100;
const SETTLE_MS = 20_000;
const WINDOW = '3s';

test('rosters converge after random schedules with stalled connections', { skip }, async (t) => {
  const limits = ['--resume-window', WINDOW, '--max-signals-per-second', '100000', '--signal-burst', '100000'];
  const server = await startServer(t, { args: [...limits, '--max-message-bytes', '131072'] });
  const { ROSTER_SEED, ROSTER_SEEDS = '1000' } = process.env;
  const first = Number(ROSTER_SEED ?? 0);
  const end = ROSTER_SEED === undefined ? Number(ROSTER_SEEDS) : first + 1;
  let next = first;
  const worker = async () => {
    while (next < end) await schedule(server, next++);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
});

async function schedule(server, seed) {
  const random = generator(seed);
  const between = (from, to) => from + Math.floor(random() * (to - from));
  const room = `roster-${seed}`;
  const cleanups = [];
  const proxy = await startProxy({ after: (cleanup) => cleanups.push(cleanup) }, server.port);
  const observer = await join(room, { url: proxy.url });
  // The roster that an application builds from events, in addition to that of the library.
  const fromEvents = new Set(observer.members.keys());
  observer.on('memberJoined', (member) => fromEvents.add(member.memberId));
  observer.on('memberLeft', ({ member }) => fromEvents.delete(member.memberId));
  observer.on('rejoined', () => {
    fromEvents.clear();
    for (const id of observer.members.keys()) fromEvents.add(id);
  });
  const talker = await join(room, { url: server.url });
  const visitors = [];
  try {
    for (let step = between(8, 20); step > 0; step--) {
      const action = between(0, 12);
      if (action < 3) visitors.push(await join(room, { url: server.url }));
      else if (action < 6 && visitors.length > 0) await visitors.splice(between(0, visitors.length), 1)[0].leave();
      else if (action < 8) proxy.break();
      else if (action < 10) await proxy.stall(between(10, 150));
      else {
        const { memberId } = observer.me;
        for (let count = between(4, 16); count > 0; count--) {
          talker.sendData({ to: memberId, text: 'x'.repeat(16 * 1024) });
        }
      }
      // Pace of the schedule, not synchronisation.
      await sleep(between(0, 60));
    }
    // Joins last, so the observer knows all earlier changes once it knows this member.
    const witness = await join(room, { url: server.url });
    visitors.push(witness);
    const expected = [talker, ...visitors].map((session) => session.me.memberId).sort();
    const same = (ids) => JSON.stringify([...ids].sort()) === JSON.stringify(expected);
    await until(
      `schedule ${seed}: the roster to equal ${expected}`,
      () => same(observer.members.keys()) && same(fromEvents),
      SETTLE_MS,
    ).catch((error) => {
      throw new Error(`${error.message}; roster ${[...observer.members.keys()]}, from events ${[...fromEvents]}`);
    });
  } finally {
    await Promise.allSettled([observer, talker, ...visitors].map((session) => session.leave()));
    for (const cleanup of cleanups) cleanup();
  }
}

/** Seeded random numbers in [0, 1) (mulberry32). */
function generator(seed) {
  let state = seed * 2654435761;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
