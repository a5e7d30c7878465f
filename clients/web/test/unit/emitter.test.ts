import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Emitter } from '../../src/emitter.js';
import { SignalError } from '../../src/errors.js';

interface Events {
  number: number;
  text: string;
}

/** An emitter whose events and end the test controls. */
class TestEmitter extends Emitter<Events> {
  readonly errors: unknown[];

  constructor() {
    const errors: unknown[] = [];
    super((error) => errors.push(error));
    this.errors = errors;
  }

  send(...numbers: number[]): void {
    for (const number of numbers) this.emit('number', number);
  }

  finish(): void {
    this.endEvents();
  }
}

/** The events of a loop that ends, and its error. */
async function collect(events: AsyncIterable<number>): Promise<[number[], unknown]> {
  const received: number[] = [];
  try {
    for await (const event of events) received.push(event);
  } catch (error) {
    return [received, error instanceof SignalError ? error.reason : error];
  }
  return [received, undefined];
}

test('handler that throws or rejects stops neither the others nor the emitter', async () => {
  const emitter = new TestEmitter();
  const received: number[] = [];
  emitter.on('number', () => {
    throw new Error('thrown');
  });
  emitter.on('number', async () => {
    throw new Error('rejected');
  });
  emitter.on('number', (number) => received.push(number));
  emitter.send(1, 2);
  await Promise.resolve();
  assert.deepEqual(received, [1, 2]);
  const messages = emitter.errors.map((error) => (error as Error).message).sort();
  assert.deepEqual(messages, ['rejected', 'rejected', 'thrown', 'thrown']);
});

test('handler added during an event misses it, and one removed does not receive it', () => {
  const emitter = new TestEmitter();
  const received: string[] = [];
  emitter.on('number', () => {
    removeSecond();
    emitter.on('number', () => received.push('added'));
  });
  const removeSecond = emitter.on('number', () => received.push('removed'));
  emitter.send(1);
  assert.deepEqual(received, []);
  removeSecond();
});

test('once resolves with the next event', async () => {
  const emitter = new TestEmitter();
  const next = emitter.once('number');
  emitter.send(1, 2);
  assert.equal(await next, 1);
});

test('once rejects when its signal is aborted or no event follows', async () => {
  const emitter = new TestEmitter();
  const controller = new AbortController();
  const aborted = emitter.once('number', controller);
  controller.abort(new Error('enough'));
  await assert.rejects(aborted, /enough/);
  await assert.rejects(emitter.once('number', { signal: AbortSignal.abort(new Error('before')) }), /before/);
  const open = emitter.once('number');
  emitter.finish();
  const isEnded = (error: unknown) => error instanceof SignalError && error.reason === 'ENDED';
  await assert.rejects(open, isEnded);
  await assert.rejects(emitter.once('number'), isEnded);
});

test('loop receives the events from the call on, and ends after the last one', async () => {
  const emitter = new TestEmitter();
  emitter.send(1);
  const events = emitter.events('number');
  emitter.send(2, 3);
  const collected = collect(events);
  await Promise.resolve();
  emitter.send(4);
  emitter.finish();
  assert.deepEqual(await collected, [[2, 3, 4], undefined]);
  assert.deepEqual(await collect(emitter.events('number')), [[], undefined]);
});

test('abort ends the loop after the events that wait', async () => {
  const emitter = new TestEmitter();
  const controller = new AbortController();
  const events = emitter.events('number', controller);
  emitter.send(1);
  controller.abort();
  emitter.send(2);
  assert.deepEqual(await collect(events), [[1], undefined]);
});

test('abort ends a loop that waits', async () => {
  const controller = new AbortController();
  const collected = collect(new TestEmitter().events('number', controller));
  controller.abort();
  assert.deepEqual(await collected, [[], undefined]);
});

test('loop that is too slow receives what waited and then throws', async () => {
  const emitter = new TestEmitter();
  const events = emitter.events('number', { limit: 2 });
  emitter.send(1, 2, 3, 4);
  assert.deepEqual(await collect(events), [[1, 2], 'QUEUE_FULL']);
  assert.deepEqual(await events.next(), { done: true, value: undefined });
});

test('loop that is left takes no more events', async () => {
  const emitter = new TestEmitter();
  const events = emitter.events('number', { limit: 2 });
  emitter.send(1, 2);
  for await (const event of events) if (event === 1) break;
  emitter.send(3, 4, 5);
  assert.deepEqual(await events.next(), { done: true, value: undefined });
});
