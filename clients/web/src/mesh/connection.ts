import type { Member } from '../model.js';
import { addAppTransceivers, readAppTransceivers } from './appTransceivers.js';
import { dtlsSetup } from './description.js';
import { MediaSenders } from './mediaSenders.js';
import { LOW_BUFFERED_BYTES } from './messages.js';
import { RemoteConnection } from './remoteConnection.js';
import { RemoteTracks, type RemoteTracksHost } from './remoteTracks.js';

/** The events of a connection. None arrives after `close`. */
export interface ConnectionHost extends RemoteTracksHost {
  readonly member: Member;
  onNegotiationNeeded(): void;
  /** A local candidate, or null for the end of candidates. */
  onLocalCandidate(candidate: RTCIceCandidate | null): void;
  onConnectionState(): void;
  onChannelChange(): void;
  /** The data channel accepts messages again. */
  onCapacity(): void;
  onMessage(data: string | ArrayBuffer): void;
  /** The peer opened a data channel. */
  onDataChannel(channel: RTCDataChannel): void;
}

/** Rejects the pending operations of a closed connection. */
export class ConnectionClosed extends Error {}

/** One RTCPeerConnection to a peer, with its data channel, senders, remote tracks and remote description. */
export class Connection {
  readonly rtc: RTCPeerConnection;
  readonly channel: RTCDataChannel;
  readonly senders: MediaSenders;
  readonly tracks: RemoteTracks;
  readonly remote = new RemoteConnection();
  /** The latest `icecandidateerror`, such as a TURN server that does not answer. */
  iceError: string | undefined;
  #wasOpen = false;
  #isClosed = false;
  #rejectClosed: (reason: ConnectionClosed) => void = () => {};
  readonly #closed = new Promise<never>((_, reject) => {
    this.#rejectClosed = reject;
  });
  // DTLS role of this side; undefined until negotiated.
  #dtlsRole: 'active' | 'passive' | undefined;
  readonly #remoteTransceivers = new WeakSet<RTCRtpTransceiver>();

  constructor(rtc: RTCPeerConnection, stream: MediaStream, host: ConnectionHost) {
    this.rtc = rtc;
    this.#closed.catch(() => {});
    this.senders = new MediaSenders(rtc);
    this.tracks = new RemoteTracks(stream, host);
    // Both peers create the channel with the same id, so neither has to wait for `datachannel`.
    this.channel = rtc.createDataChannel('signalbox', { negotiated: true, id: 0 });
    this.channel.binaryType = 'arraybuffer';
    this.channel.bufferedAmountLowThreshold = LOW_BUFFERED_BYTES;
    const unlessClosed =
      <Args extends unknown[]>(handler: (...args: Args) => void) =>
      (...args: Args) => {
        if (!this.#isClosed) handler(...args);
      };
    this.channel.onopen = unlessClosed(() => {
      this.#wasOpen = true;
      host.onChannelChange();
    });
    this.channel.onclose = unlessClosed(() => host.onChannelChange());
    this.channel.onbufferedamountlow = unlessClosed(() => host.onCapacity());
    this.channel.onmessage = unlessClosed(({ data }) => host.onMessage(data));
    rtc.onnegotiationneeded = unlessClosed(() => host.onNegotiationNeeded());
    rtc.onicecandidate = unlessClosed(({ candidate }) => host.onLocalCandidate(candidate));
    rtc.onicecandidateerror = ({ errorCode, errorText, url }) => {
      this.iceError = `${url} ${errorCode} ${errorText}`.trim();
    };
    rtc.onconnectionstatechange = unlessClosed(() => host.onConnectionState());
    rtc.ondatachannel = unlessClosed(({ channel }) => host.onDataChannel(channel));
    rtc.ontrack = unlessClosed((event) => this.tracks.add(event, host.member));
  }

  /** Whether the remote end has closed its connection, according to DTLS or SCTP. */
  get hasEnded(): boolean {
    const dtls = this.rtc.sctp?.transport?.state;
    return dtls === 'closed' || dtls === 'failed' || (this.#wasOpen && this.channel.readyState !== 'open');
  }

  /** Applies an offer. */
  async acceptOffer(offer: string): Promise<void> {
    const before = new Set(this.rtc.getTransceivers());
    await this.whileOpen(this.rtc.setRemoteDescription({ type: 'offer', sdp: offer }));
    for (const transceiver of this.rtc.getTransceivers()) {
      if (!before.has(transceiver)) this.#remoteTransceivers.add(transceiver);
    }
    this.remote.accept(offer);
  }

  /** Applies an answer to the remote offer, and returns the answer to send. */
  async answer(offer: string): Promise<string> {
    await this.whileOpen(this.rtc.setLocalDescription());
    this.tracks.removeEnded();
    return this.#keepDtlsRole(this.rtc.localDescription?.sdp ?? '', dtlsSetup(offer));
  }

  /** Applies an answer. */
  async acceptAnswer(answer: string): Promise<void> {
    await this.whileOpen(this.rtc.setRemoteDescription({ type: 'answer', sdp: answer }));
    this.#dtlsRole ??= dtlsSetup(answer) === 'passive' ? 'active' : 'passive';
    this.remote.accept(answer);
    this.tracks.removeEnded();
  }

  /** Recreates the transceivers that the application added to the previous connection. */
  adoptTransceivers(previous: Connection): void {
    const isOurs = (transceiver: RTCRtpTransceiver) =>
      previous.senders.manages(transceiver.sender) ||
      (previous.#remoteTransceivers.has(transceiver) && !transceiver.sender.track);
    addAppTransceivers(this.rtc, readAppTransceivers(previous.rtc, isOurs));
  }

  /**
   * Returns the result of an RTCPeerConnection operation, or rejects with `ConnectionClosed`. After `close`, browsers
   * never settle the promise of an operation (WebRTC 1.0, section 4.4.1.2).
   */
  whileOpen<Result>(operation: Promise<Result>): Promise<Result> {
    return Promise.race([operation, this.#closed]);
  }

  close(): void {
    this.#isClosed = true;
    this.#rejectClosed(new ConnectionClosed());
    this.tracks.close();
    this.rtc.close();
  }

  /**
   * Keeps the negotiated DTLS role in later answers (RFC 8842, section 5.5). Firefox answers `active` even if it was
   * passive before, and Chromium rejects such an answer.
   */
  #keepDtlsRole(answer: string, offered: string | undefined): string {
    const chosen = dtlsSetup(answer) === 'passive' ? 'passive' : 'active';
    this.#dtlsRole ??= chosen;
    // If the offer sets a role, the answer must use the opposite one.
    const role = offered === 'active' ? 'passive' : offered === 'passive' ? 'active' : this.#dtlsRole;
    return answer.replace(/^a=setup:\w+/gm, `a=setup:${role}`);
  }
}
