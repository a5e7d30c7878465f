import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import { SignalError } from '../../src/errors.js';
import type { JoinOptions } from '../../src/options.js';
import { join } from '../../src/session.js';

/** A test with a `fetch` whose responses have no body. Provides the requested URLs. */
function test(name: string, isPage: boolean, body: (urls: string[]) => Promise<void>): void {
  nodeTest(name, async () => {
    const realFetch = globalThis.fetch;
    const urls: string[] = [];
    globalThis.fetch = async (input) => {
      urls.push(String(input));
      const response = new Response('', { headers: { 'content-type': 'application/grpc-web+proto' } });
      return new Proxy(response, {
        get: (from, name) => (name === 'body' ? undefined : Reflect.get(from, name, from)),
      });
    };
    if (isPage) Object.assign(globalThis, { document: new EventTarget() });
    try {
      await body(urls);
    } finally {
      globalThis.fetch = realFetch;
      Reflect.deleteProperty(globalThis, 'document');
    }
  });
}

async function assertUnsupported(options: JoinOptions = {}): Promise<void> {
  const error = await join('room', { url: 'http://test', ...options }).catch((error: unknown) => error);
  assert.ok(error instanceof SignalError);
  assert.deepEqual([error.reason, error.retryable], ['UNSUPPORTED', false]);
  assert.match(error.message, /this fetch cannot stream/);
}

test('fetch without a body is found before the join', false, async (urls) => {
  await assertUnsupported();
  assert.deepEqual(urls, ['data:,x']);
});

test('fetch without a body in a page is called once', true, async (urls) => {
  await assertUnsupported();
  assert.deepEqual(urls, ['http://test/signalbox.v1.Signal/Subscribe']);
});

test('Response without `body` is found before any request', true, async (urls) => {
  const descriptor = Object.getOwnPropertyDescriptor(Response.prototype, 'body');
  assert.ok(descriptor && Reflect.deleteProperty(Response.prototype, 'body'));
  try {
    await assertUnsupported();
  } finally {
    Object.defineProperty(Response.prototype, 'body', descriptor);
  }
  assert.deepEqual(urls, []);
});

test('fetch of the options replaces the global one', true, async (urls) => {
  const { fetch } = globalThis;
  globalThis.fetch = () => assert.fail('the global fetch');
  await assertUnsupported({ fetch });
  assert.equal(urls.length, 1);
});
