// An in-memory server whose streams and responses the test controls.

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

type ServerMessageInit = MessageInitShape<typeof ServerMessageSchema>;

/** One Subscribe call. */
export class FakeStream {
  readonly request: SubscribeRequest;
  /** Whether the client has aborted the stream. */
  aborted = false;
  #queue: (ServerMessage | ConnectError)[] = [];
  #wake: () => void = () => {};

  constructor(request: SubscribeRequest, signal: AbortSignal) {
    this.request = request;
    signal.addEventListener('abort', () => {
      this.aborted = true;
      this.#wake();
    });
  }

  send(message: ServerMessageInit): void {
    this.#put(create(ServerMessageSchema, message));
  }

  fail(error = new ConnectError('connection lost', Code.Unavailable)): void {
    this.#put(error);
  }

  async *read(): AsyncGenerator<ServerMessage> {
    while (!this.aborted) {
      const next = this.#queue.shift();
      if (next instanceof ConnectError) throw next;
      if (next) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #put(item: ServerMessage | ConnectError): void {
    this.#queue.push(item);
    this.#wake();
  }
}

/** The Signal service. Records every call. */
export class FakeServer {
  readonly streams: FakeStream[] = [];
  readonly sends: SendRequest[] = [];
  /** The authorization header of each call, in order. */
  readonly authorizations: (string | null)[] = [];
  /** Number of Sends that the client aborted. */
  abortedSends = 0;
  readonly transport: Transport;
  /** Responds to a Send; by default all messages are accepted. */
  respond: (request: SendRequest) => SendResponse | Promise<SendResponse> = (request) => accepted(request);
  /** Called with each new stream. */
  onOpen: ((stream: FakeStream) => void) | undefined;

  constructor() {
    const open = (request: SubscribeRequest, signal: AbortSignal) => this.#open(request, signal);
    const recordHeader = (header: Headers) => this.authorizations.push(header.get('authorization'));
    this.transport = createRouterTransport(({ rpc }) => {
      rpc(Signal.method.subscribe, (request, { signal, requestHeader }) => {
        recordHeader(requestHeader);
        return open(request, signal).read();
      });
      rpc(Signal.method.send, (request, { signal, requestHeader }) => {
        recordHeader(requestHeader);
        this.sends.push(request);
        signal.addEventListener('abort', () => {
          this.abortedSends += 1;
        });
        return this.respond(request);
      });
    });
  }

  /** The latest stream. */
  get stream(): FakeStream {
    const stream = this.streams.at(-1);
    if (!stream) throw new Error('no stream was opened');
    return stream;
  }

  /** The sequence numbers of all numbered messages, in order. */
  get numberedSeqs(): number[] {
    return this.sends.flatMap((send) => send.messages.map(({ seq }) => Number(seq)).filter(Boolean));
  }

  #open(request: SubscribeRequest, signal: AbortSignal): FakeStream {
    const stream = new FakeStream(request, signal);
    this.streams.push(stream);
    this.onOpen?.(stream);
    return stream;
  }
}

/** Acknowledges all messages of a request. */
export function accepted(request: SendRequest): SendResponse {
  let ack = 0n;
  for (const { seq } of request.messages) if (seq > ack) ack = seq;
  return create(SendResponseSchema, { ack });
}

/** A welcome with a heartbeat interval of 15 s and a resume window of 30 s. */
export function welcome(memberId: string, others: string[] = [], seq = 10n): ServerMessageInit {
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

/** A resumed after the sequence number of the welcome. */
export function resumed(members: string[], replayed = 0): ServerMessageInit {
  const present = members.map((memberId, index) => ({ memberId, displayName: memberId, joinOrder: BigInt(index + 1) }));
  return { seq: 10n, ack: 99n, body: { case: 'resumed', value: { replayed: BigInt(replayed), members: present } } };
}

/** An error of the server, with google.rpc.ErrorInfo. */
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

/** Concatenates encoded fields to an encoded message. */
export function message(...fields: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(fields));
}

/** Encodes a field of at most 127 bytes. */
export function bytesField(number: number, value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return new Uint8Array([(number << 3) | 2, bytes.length, ...bytes]);
}
