import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoff, sleep } from '../../src/backoff.js';

test('delay grows quadratically from 0 to 7 s', () => {
  const middle = () => 0.5;
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => backoff(attempt, undefined, middle)),
    [0, 300, 1200, 2700, 4800, 7000, 7000, 7000],
  );
});

test('delay stays within its bounds', () => {
  const bounds = { minMs: 500, maxMs: 2_000 };
  const delays = [0, 1, 2, 3, 4, 5].map((attempt) => backoff(attempt, bounds, () => 0.5));
  assert.deepEqual(delays, [500, 500, 1200, 2000, 2000, 2000]);
});

test('jitter stays within 15 %', () => {
  assert.equal(
    backoff(5, undefined, () => 0),
    5950,
  );
  assert.equal(
    backoff(5, undefined, () => 1),
    8050,
  );
});

test('sleep resolves after its duration, or at once when aborted', async () => {
  const started = Date.now();
  await sleep(30);
  assert.ok(Date.now() - started >= 28);
  await sleep(60_000, AbortSignal.abort());
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 5);
  await sleep(60_000, controller.signal);
  assert.ok(Date.now() - started < 5_000);
});
