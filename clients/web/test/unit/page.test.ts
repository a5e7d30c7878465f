import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { SendRequestSchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import { join, type Session } from '../../src/session.js';
import { pass } from './clock.js';
import { FakeServer, resumed, welcome } from './server.js';

interface Request {
  readonly url: string;
  readonly init: RequestInit & { body: Uint8Array };
}

/** The parts of a page that a session uses. */
class FakePage {
  readonly window = new EventTarget();
  readonly document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  readonly connection = Object.assign(new EventTarget(), { type: 'wifi' });
  /** Requests through the global `fetch`. */
  readonly requests: Request[] = [];

  constructor() {
    const fetch = async (url: string, init: Request['init']) => {
      this.requests.push({ url, init });
      throw new TypeError('the page is unloaded');
    };
    this.#globals({ window: this.window, document: this.document, fetch });
    Object.defineProperty(globalThis, 'navigator', { value: { connection: this.connection }, configurable: true });
  }

  /** Shows or hides the page. `persisted`: from or into the back-forward cache. */
  transition(type: 'pageshow' | 'pagehide', persisted: boolean): void {
    this.window.dispatchEvent(Object.assign(new Event(type), { persisted }));
  }

  remove(): void {
    this.#globals({ window: undefined, document: undefined, fetch: realFetch });
    if (realNavigator) Object.defineProperty(globalThis, 'navigator', realNavigator);
    else Reflect.deleteProperty(globalThis, 'navigator');
  }

  #globals(values: Record<string, unknown>): void {
    Object.assign(globalThis, values);
  }
}

const realFetch = globalThis.fetch;
const realNavigator = Object.getOwnPropertyDescriptor(globalThis, 'navigator');

function test(name: string, body: (page: FakePage, server: FakeServer) => Promise<void>): void {
  nodeTest(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const page = new FakePage();
    try {
      await body(page, new FakeServer());
    } finally {
      page.remove();
      mock.timers.reset();
    }
  });
}

async function joined(server: FakeServer): Promise<Session> {
  const joining = join('room', { transport: server.transport, url: 'https://signal.test/' });
  await pass();
  server.stream.send(welcome('me'));
  return await joining;
}

/** Fails the stream and resumes until the next attempt is 4 s away. */
async function loseConnection(server: FakeServer): Promise<void> {
  server.onOpen = (stream) => stream.fail();
  server.stream.fail();
  await pass(5_000);
  server.onOpen = undefined;
}

test('online event skips the backoff', async (page, server) => {
  const session = await joined(server);
  await loseConnection(server);
  const before = server.streams.length;
  await pass(500);
  assert.equal(server.streams.length, before, 'the client backs off');
  page.window.dispatchEvent(new Event('online'));
  await pass();
  assert.equal(server.streams.length, before + 1);
  server.stream.send(resumed([]));
  await pass();
  assert.equal(session.state, 'connected');
});

test('online event replaces a stream that looks alive', async (page, server) => {
  const session = await joined(server);
  page.window.dispatchEvent(new Event('online'));
  await pass(50);
  assert.ok(server.streams[0]?.aborted);
  assert.equal(server.stream.request.open.case, 'resume');
  assert.equal(session.state, 'suspended');
});

test('page from the back-forward cache resumes, and a new page does not', async (page, server) => {
  await joined(server);
  page.transition('pageshow', false);
  await pass(50);
  assert.equal(server.streams.length, 1);
  page.transition('pagehide', true);
  assert.deepEqual(page.requests, [], 'the page may be restored');
  page.transition('pageshow', true);
  await pass(50);
  assert.equal(server.stream.request.open.case, 'resume');
});

test('change of the network type resumes, and a change of speed does not', async (page, server) => {
  await joined(server);
  page.connection.dispatchEvent(new Event('change'));
  await pass(50);
  assert.equal(server.streams.length, 1);
  page.connection.type = 'cellular';
  page.connection.dispatchEvent(new Event('change'));
  await pass(50);
  assert.equal(server.stream.request.open.case, 'resume');
});

test('visible page resumes if a heartbeat is overdue', async (page, server) => {
  await joined(server);
  const shown = async () => {
    page.document.dispatchEvent(new Event('visibilitychange'));
    await pass(50);
    return server.streams.length;
  };
  await pass(17_900);
  assert.equal(await shown(), 1);
  await pass(200);
  page.document.visibilityState = 'hidden';
  assert.equal(await shown(), 1);
  page.document.visibilityState = 'visible';
  assert.equal(await shown(), 2);
  assert.equal(server.stream.request.open.case, 'resume');
});

test('unloading page sends leave in a keepalive request', async (page, server) => {
  await joined(server);
  page.transition('pagehide', false);
  const [request, ...more] = page.requests;
  assert.equal(more.length, 0);
  assert.equal(request?.url, 'https://signal.test/signalbox.v1.Signal/Send');
  assert.deepEqual([request.init.method, request.init.keepalive], ['POST', true]);
  assert.equal(new Headers(request.init.headers).get('content-type'), 'application/grpc-web+proto');
  // One uncompressed gRPC-Web frame with the length of its message.
  const { body } = request.init;
  assert.deepEqual([...body.subarray(0, 4)], [0, 0, 0, 0]);
  assert.equal(body[4], body.length - 5);
  const decoded = fromBinary(SendRequestSchema, body.subarray(5));
  assert.equal(decoded.sessionToken, 'token-of-me');
  assert.deepEqual(
    decoded.messages.map(({ body, seq }) => [body.case, seq]),
    [['leave', 0n]],
  );
});

test('moved session sends leave to its new URL', async (page, server) => {
  const session = await joined(server);
  await session.moveTo('https://signal.test:8443');
  await pass(50);
  page.transition('pagehide', false);
  const urls = page.requests.map(({ url }) => url);
  assert.deepEqual(urls, ['https://signal.test:8443/signalbox.v1.Signal/Send']);
});

test('unloading page sends leave while suspended, but not after leaving', async (page, server) => {
  const session = await joined(server);
  await loseConnection(server);
  page.transition('pagehide', false);
  assert.equal(page.requests.length, 1);
  await session.leave();
  page.transition('pagehide', false);
  page.window.dispatchEvent(new Event('online'));
  await pass(60_000);
  assert.equal(page.requests.length, 1);
  assert.equal(session.state, 'ended');
});
