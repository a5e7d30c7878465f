// A server in memory: what the session sees of the network, under the test's control.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createRouterTransport, type Transport } from '@connectrpc/connect';
import {
  type SendRequest,
  type SendResponse,
  SendResponseSchema,
  type ServerMessage,
  ServerMessageSchema,
  Signal,
  type SubscribeRequest,
} from '../../src/gen/signalbox/v1/signal_pb.js';

type Say = MessageInitShape<typeof ServerMessageSchema>;

/** One Subscribe call. */
export class FakeStream {
  readonly request: SubscribeRequest;
  /** Whether the client has gone. */
  aborted = false;
  #queue: (ServerMessage | ConnectError | 'end')[] = [];
  #wake: () => void = () => {};

  constructor(request: SubscribeRequest, signal: AbortSignal) {
    this.request = request;
    signal.addEventListener('abort', () => {
      this.aborted = true;
      this.#wake();
    });
  }

  say(message: Say): void {
    this.#put(create(ServerMessageSchema, message));
  }

  fail(error = new ConnectError('connection lost', Code.Unavailable)): void {
    this.#put(error);
  }

  end(): void {
    this.#put('end');
  }

  async *read(): AsyncGenerator<ServerMessage> {
    while (!this.aborted) {
      const next = this.#queue.shift();
      if (next === 'end') return;
      if (next instanceof ConnectError) throw next;
      if (next) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #put(item: ServerMessage | ConnectError | 'end'): void {
    this.#queue.push(item);
    this.#wake();
  }
}

/** The Signal service. Every call is kept, for the test to look at. */
export class FakeServer {
  readonly streams: FakeStream[] = [];
  readonly sends: SendRequest[] = [];
  /** What each call had as its authorization, in order. */
  readonly authorizations: (string | null)[] = [];
  /** How many Sends the client did not wait for. */
  abortedSends = 0;
  readonly transport: Transport;
  /** Answers a Send; by default everything is accepted. */
  answer: (request: SendRequest) => SendResponse | Promise<SendResponse> = (request) => accept(request);
  /** How the next streams begin; by default they wait for the test. */
  opening: ((stream: FakeStream) => void) | undefined;

  constructor() {
    const open = (request: SubscribeRequest, signal: AbortSignal) => this.#open(request, signal);
    const note = (header: Headers) => this.authorizations.push(header.get('authorization'));
    this.transport = createRouterTransport(({ rpc }) => {
      rpc(Signal.method.subscribe, (request, { signal, requestHeader }) => {
        note(requestHeader);
        return open(request, signal).read();
      });
      rpc(Signal.method.send, (request, { signal, requestHeader }) => {
        note(requestHeader);
        this.sends.push(request);
        signal.addEventListener('abort', () => {
          this.abortedSends += 1;
        });
        return this.answer(request);
      });
    });
  }

  /** The newest stream. */
  get stream(): FakeStream {
    const stream = this.streams.at(-1);
    if (!stream) throw new Error('no stream was opened');
    return stream;
  }

  /** What was said with a number, in all Sends, in order. */
  get numbered(): number[] {
    return this.sends.flatMap((send) => send.messages.map(({ seq }) => Number(seq)).filter(Boolean));
  }

  #open(request: SubscribeRequest, signal: AbortSignal): FakeStream {
    const stream = new FakeStream(request, signal);
    this.streams.push(stream);
    this.opening?.(stream);
    return stream;
  }
}

/** Handled and delivered. */
export function accept(request: SendRequest): SendResponse {
  let ack = 0n;
  for (const { seq } of request.messages) if (seq > ack) ack = seq;
  return create(SendResponseSchema, { ack });
}

/** A welcome with 15 s of heartbeat and 30 s of resume window. */
export function welcome(memberId: string, others: string[] = [], seq = 10n): Say {
  const member = (id: string, joinOrder: number) => ({ memberId: id, displayName: id, joinOrder: BigInt(joinOrder) });
  return {
    seq,
    body: {
      case: 'welcome',
      value: {
        sessionToken: `token-of-${memberId}`,
        you: member(memberId, others.length + 1),
        members: others.map((id, index) => member(id, index + 1)),
        room: { name: 'room' },
        limits: {
          heartbeatInterval: { seconds: 15n },
          resumeWindow: { seconds: 30n },
          maxMessageBytes: 131_072,
          maxUnacked: 256,
        },
      },
    },
  };
}

/** A resumed that goes on where the welcome stood. */
export function resumed(members: string[], replayed = 0): Say {
  const present = members.map((memberId, index) => ({ memberId, displayName: memberId, joinOrder: BigInt(index + 1) }));
  return { seq: 10n, ack: 99n, body: { case: 'resumed', value: { replayed: BigInt(replayed), members: present } } };
}

/** An error as it comes from the server, with google.rpc.ErrorInfo. */
export function serverError(code: Code, reason: string, metadata: Record<string, string> = {}, domain = 'signalbox') {
  const entries = Object.entries(metadata).map(([key, value]) =>
    bytesField(3, message(bytesField(1, key), bytesField(2, value))),
  );
  const error = new ConnectError(reason, code);
  const value = message(bytesField(1, reason), bytesField(2, domain), ...entries);
  error.details.push({ type: 'google.rpc.ErrorInfo', value });
  return error;
}

/** google.rpc.RetryInfo. */
export function retryInfo(seconds: number) {
  return { type: 'google.rpc.RetryInfo', value: bytesField(1, new Uint8Array([0x08, seconds])) };
}

/** An encoded message of encoded fields. */
export function message(...fields: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(fields));
}

/** An encoded field of at most 127 bytes. */
export function bytesField(number: number, value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return new Uint8Array([(number << 3) | 2, bytes.length, ...bytes]);
}
