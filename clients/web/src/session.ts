import { createClient } from '@connectrpc/connect';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { SignalError } from './errors.js';
import type { SessionEvents } from './events.js';
import * as pb from './gen/signalbox/v1/signal_pb.js';
import { Handlers, type Unsubscribe } from './handlers.js';
import { Inbox } from './inbox.js';
import { handlerErrorReporter, safeLogger } from './logger.js';
import * as model from './model.js';
import type { JoinOptions, Report, SessionState } from './options.js';
import type { Outcome, OutgoingMessage } from './outbox.js';
import { sendLeaveKeepalive, watchPage } from './page.js';
import { Profile, type ProfileChange, type ProfileValues } from './profile.js';
import { checkStreaming, createTransport } from './transport.js';

/**
 * Joins a room. Resolves with a session that reconnects without help from the application.
 *
 * Events are held until the first call of `on`, `once`, `events` or `subscribe`. Register all handlers in one task to
 * receive every event.
 *
 * An abort or a timeout rejects at once. A pending join then finishes in the background and leaves.
 *
 * @throws SignalError with a reason of the server, such as `ROOM_FULL` or `PASSCODE_WRONG`, or after `joinTimeoutMs`
 * with a transient reason such as `NETWORK`.
 */
export function join(room: string, options: JoinOptions = {}): Promise<Session> {
  return Session.open(room, options);
}

/** This client's membership in a room, across reconnects. Created by `join`. */
export class Session extends Emitter<SessionEvents> {
  readonly #inbox = new Inbox((name, event) => {
    this.emit(name, event);
    if (name === 'ended') this.endEvents();
    // The handlers of all other changes notify `#changes` themselves.
    if (name.startsWith('member')) this.#changes.call();
  });
  readonly #changes: Handlers<void>;
  readonly #connection: Connection;
  readonly #profile: Profile;
  readonly #stopWatchingPage: () => void;
  #me: model.Member | undefined;
  #room = model.toRoom(undefined);
  #ice: model.IceServerList = { iceServers: [], expiresAt: undefined };

  /** @internal Use `join`. */
  static async open(room: string, options: JoinOptions): Promise<Session> {
    const session = new Session(room, options);
    await session.#connection.open(options.joinTimeoutMs ?? 15_000, options.signal);
    return session;
  }

  private constructor(room: string, options: JoinOptions) {
    const reportError = handlerErrorReporter(options.logger);
    super(reportError);
    this.#changes = new Handlers(reportError);
    const { url = globalThis.location?.origin ?? '', identity = '', displayName = '', passcode = '' } = options;
    const { attributes = {}, token, transport, fetch, reconnect = {} } = options;
    this.#connection = new Connection({
      url,
      token,
      reconnect,
      logger: safeLogger(options.logger),
      createClient: (url) => {
        const custom = typeof transport === 'function' ? transport(url) : transport;
        return createClient(pb.Signal, custom ?? createTransport(url, fetch));
      },
      checkSupport: async () => {
        if (!transport) await checkStreaming(fetch);
      },
      joinRequest: () => ({ room, identity, passcode, ...this.#profile.accepted }),
      lastSeq: () => this.#inbox.lastSeq,
      onWelcome: (seq, welcome) => this.#handleWelcome(seq, welcome),
      onResumed: (resumed) => this.#handleResumed(resumed),
      onMessage: (message) => this.#handleMessage(message),
      onSuspended: (error) => {
        this.#changes.call();
        this.#inbox.notify('suspended', { error });
      },
      onEnded: (reason, error) => this.#handleEnded(reason, error),
    });
    this.#profile = new Profile(
      { displayName, attributes },
      (message) => this.#send(message),
      (change) => {
        if (this.#me) this.#me = Object.freeze({ ...this.#me, ...change });
        this.#changes.call();
      },
    );
    this.#stopWatchingPage = watchPage({
      networkChanged: () => this.#connection.reconnect(),
      becameVisible: () => this.#connection.reconnectIfSilent(),
      unloading: () => {
        const { url, token, headers } = this.#connection;
        if (token !== '') sendLeaveKeepalive(url, token, headers, fetch);
      },
    });
  }

  /** State of the connection to the server. */
  get state(): SessionState {
    return this.#connection.state;
  }

  /** The current URL of the server. */
  get url(): string {
    return this.#connection.url;
  }

  /** This member, as the other members see it. */
  get me(): model.Member {
    if (!this.#me) throw SignalError.ended();
    return this.#me;
  }

  /**
   * The other members, by member_id, in join order. An immutable snapshot; each change of the roster creates a new one
   * and emits an event.
   */
  get members(): ReadonlyMap<string, model.Member> {
    return this.#inbox.members;
  }

  /** The room as of the join. */
  get room(): model.RoomInfo {
    return this.#room;
  }

  /** The latest ICE servers, for RTCConfiguration. */
  get iceServers(): RTCIceServer[] {
    return this.#ice.iceServers;
  }

  /** Sends an offer. `negotiation` groups it with its answer and candidates. */
  sendOffer(to: string, sdp: string, negotiation = 0): Promise<Outcome> {
    return this.#send({ to, negotiation: model.fromNegotiation(negotiation), body: { case: 'offer', value: { sdp } } });
  }

  /** Sends an answer with the negotiation of its offer. */
  sendAnswer(to: string, sdp: string, negotiation = 0): Promise<Outcome> {
    return this.#send({
      to,
      negotiation: model.fromNegotiation(negotiation),
      body: { case: 'answer', value: { sdp } },
    });
  }

  /** Sends a candidate with the negotiation of its description. */
  sendCandidate(to: string, candidate: RTCIceCandidateInit, negotiation = 0): Promise<Outcome> {
    return this.#send({
      to,
      negotiation: model.fromNegotiation(negotiation),
      body: { case: 'candidate', value: model.fromCandidate(candidate) },
    });
  }

  /** Sends application data through the server to one member or, without `to`, to all others. */
  sendData(data: { to?: string; topic?: string; text?: string; payload?: Uint8Array<ArrayBuffer> }): Promise<Outcome> {
    const { to = '', topic = '', text = '', payload = new Uint8Array() } = data;
    return this.#send({ to, body: { case: 'data', value: { topic, text, payload } } });
  }

  /**
   * Changes the name or attributes of this member. Omitted fields stay unchanged, and `attributes` replace all
   * attributes. `me` changes when the server has accepted the update. A function receives the values that result if the
   * server accepts all earlier updates.
   *
   * If the client has to rejoin before the outcome is known, the update is sent again in the new session.
   */
  update(change: ProfileChange | ((expected: ProfileValues) => ProfileChange)): Promise<Outcome> {
    if (this.#connection.isClosing) return this.#send({});
    const { expected } = this.#profile;
    return this.#profile.update(typeof change === 'function' ? change(expected) : change, this.#connection.hasSession);
  }

  /** Reports the state of a peer connection to the operators of the server. */
  report(report: Report): Promise<Outcome> {
    const elapsedMs = Math.max(0, Math.round(report.elapsedMs ?? 0));
    return this.#send({ body: { case: 'report', value: { ...report, elapsedMs } } });
  }

  /**
   * Moves the session to another URL of the same server, such as another port of a tunnel. The URL is probed first; if
   * the probe fails, this throws and the session stays unchanged.
   *
   * The session then resumes at the new URL with the guarantee of any reconnect: each accepted signal arrives once and
   * in order, or both ends are notified. The client receives `rejoined` if the resume window is over or the server was
   * restarted. Peer connections are not affected.
   *
   * If the URL has another origin than the page, the server's `--cors-origin` must list the page's origin, and the
   * page's Content-Security-Policy must allow the connection.
   *
   * @throws SignalError with `NETWORK`, `TIMEOUT` or `PROXY` if no Signalbox server answers, another reason if the
   * server rejects the probe, `ABORTED` if a later call named another URL, or `ENDED`.
   */
  async moveTo(url: string): Promise<void> {
    await this.#connection.moveTo(url);
    this.#changes.call();
  }

  /** Leaves the room. Resolves when the server has confirmed it, or after 2 s. */
  leave(reason = ''): Promise<void> {
    return this.#connection.leave(reason);
  }

  /**
   * Calls `listener` after each change of a property, such as `state`, `me` or `members`. Properties keep their identity
   * until they change, as `useSyncExternalStore` of React requires:
   *
   * ```ts
   * const members = useSyncExternalStore(session.subscribe, () => session.members);
   * ```
   */
  readonly subscribe = (listener: () => void): Unsubscribe => {
    queueMicrotask(() => this.#inbox.release());
    return this.#changes.add(listener);
  };

  override on<Name extends keyof SessionEvents>(
    name: Name,
    handler: (event: SessionEvents[Name]) => void,
  ): Unsubscribe {
    // Deferred, so that handlers registered later in the same task do not miss events.
    queueMicrotask(() => this.#inbox.release());
    return super.on(name, handler);
  }

  #send(message: OutgoingMessage): Promise<Outcome> {
    return this.#connection.send(message);
  }

  #handleWelcome(seq: bigint, welcome: pb.Welcome): void {
    const previous = this.#me;
    this.#me = welcome.you && model.toMember(welcome.you);
    this.#room = model.toRoom(welcome.room);
    this.#ice = model.toIceServers(welcome.iceServers, welcome.iceExpiresAt);
    const previousMembers = this.#inbox.welcome(seq, welcome.members);
    this.#profile.resend();
    this.#changes.call();
    if (previous) this.#inbox.notify('rejoined', { previousMemberId: previous.memberId, previousMembers });
  }

  #handleResumed(resumed: pb.Resumed): void {
    this.#ice = model.toIceServers(resumed.iceServers, resumed.iceExpiresAt);
    this.#changes.call();
    this.#inbox.notify('resumed', { replayed: Number(resumed.replayed) });
    this.#inbox.notify('iceServers', this.#ice);
    this.#inbox.resumed(resumed);
  }

  #handleMessage(message: pb.ServerMessage): void {
    const { body } = message;
    if (body.case === 'iceServers') {
      this.#ice = model.toIceServers(body.value.iceServers, body.value.expiresAt);
      this.#changes.call();
    }
    this.#inbox.receive(message);
  }

  #handleEnded(reason: string, error: SignalError | undefined): void {
    this.#stopWatchingPage();
    this.#profile.end();
    this.#changes.call();
    this.#inbox.notify('ended', { reason, error });
  }
}
