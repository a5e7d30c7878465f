import { mock } from 'node:test';

/** Runs pending tasks, then advances the clock of `mock.timers` in small steps. */
export async function pass(ms = 0): Promise<void> {
  const step = 50;
  for (let passed = 0; ; passed += step) {
    for (let i = 0; i < 12; i += 1) await new Promise((resolve) => setImmediate(resolve));
    if (passed >= ms) return;
    mock.timers.tick(Math.min(step, ms - passed));
  }
}
