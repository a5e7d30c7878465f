import type { Member } from '../model.js';
import { type Kind, kindOf } from './publication.js';
import { readPublications } from './publicationList.js';

/** A track of a peer. */
export interface RemoteTrack {
  readonly track: MediaStreamTrack;
  readonly kind: Kind;
  /** Label from `PublishOptions`, such as `camera` or `screen`. `media` if the peer set none. */
  readonly label: string;
  /** The stream of all tracks that were published together. */
  readonly stream: MediaStream;
  /** Whether the peer has muted the track. */
  readonly muted: boolean;
}

/** The events of `RemoteTracks`. */
export interface RemoteTracksHost {
  onTrackAdded(track: RemoteTrack): void;
  onTrackRemoved(track: RemoteTrack): void;
  onTrackMuted(track: RemoteTrack): void;
}

/** The tracks that a peer sends over one connection. */
export class RemoteTracks {
  /** A stream of all tracks, for playback in one element. */
  readonly stream: MediaStream;
  readonly #host: RemoteTracksHost;
  readonly #tracks = new Map<RTCRtpTransceiver, { id: string; shown: RemoteTrack }>();

  constructor(stream: MediaStream, host: RemoteTracksHost) {
    this.stream = stream;
    this.#host = host;
  }

  get all(): RemoteTrack[] {
    return [...this.#tracks.values()].map(({ shown }) => shown);
  }

  /** Handles the `track` event. */
  add({ track, streams, transceiver }: RTCTrackEvent, member: Member): void {
    if (this.#tracks.has(transceiver)) return;
    const [stream = this.stream] = streams;
    const shown = { track, kind: kindOf(track), stream, ...describe(member, stream.id, kindOf(track)) };
    this.#tracks.set(transceiver, { id: stream.id, shown });
    this.stream.addTrack(track);
    this.#host.onTrackAdded(shown);
  }

  /** Removes the tracks that the peer no longer sends, after a negotiation. */
  removeEnded(): void {
    for (const [transceiver, { shown }] of this.#tracks) {
      const { currentDirection } = transceiver;
      if (currentDirection === 'sendrecv' || currentDirection === 'recvonly') continue;
      this.#tracks.delete(transceiver);
      this.stream.removeTrack(shown.track);
      this.#host.onTrackRemoved(shown);
    }
  }

  /** Updates labels and muted states from the member's attributes. */
  describe(member: Member): void {
    for (const entry of this.#tracks.values()) {
      const before = entry.shown;
      // An ended publication has no description, so its track keeps the last label.
      entry.shown = { ...before, ...describe(member, entry.id, before.kind, before.label) };
      if (entry.shown.muted !== before.muted) this.#host.onTrackMuted(entry.shown);
    }
  }

  /** Removes every track when the connection closes. */
  close(): void {
    for (const { shown } of this.#tracks.values()) this.#host.onTrackRemoved(shown);
    this.#tracks.clear();
  }
}

function describe(
  member: Member,
  streamId: string,
  kind: Kind,
  defaultLabel = 'media',
): Pick<RemoteTrack, 'label' | 'muted'> {
  const { label = defaultLabel, muted = [] } = readPublications(member).get(streamId) ?? {};
  return { label, muted: muted.includes(kind) };
}
