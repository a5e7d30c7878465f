import type { Member } from '../model.js';
import { type Kind, kindOf } from './publication.js';
import { readPublications } from './publicationList.js';

/** A track of a peer. */
export interface RemoteTrack {
  readonly track: MediaStreamTrack;
  readonly kind: Kind;
  /** As published, such as `camera` or `screen`. `media` if the peer gives none. */
  readonly label: string;
  /** Holds the tracks that were published together. */
  readonly stream: MediaStream;
  /** Whether the peer has muted it. */
  readonly muted: boolean;
}

/** What `RemoteTracks` reports. */
export interface RemoteTracksHost {
  onTrackAdded(track: RemoteTrack): void;
  onTrackRemoved(track: RemoteTrack): void;
  onTrackMuted(track: RemoteTrack): void;
}

/** The tracks that a peer sends over one connection. */
export class RemoteTracks {
  /** Every track, for applications that play all in one element. */
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

  /** The `track` event. */
  add({ track, streams, transceiver }: RTCTrackEvent, member: Member): void {
    if (this.#tracks.has(transceiver)) return;
    const [stream = this.stream] = streams;
    const shown = { track, kind: kindOf(track), stream, ...describe(member, stream.id, kindOf(track)) };
    this.#tracks.set(transceiver, { id: stream.id, shown });
    this.stream.addTrack(track);
    this.#host.onTrackAdded(shown);
  }

  /** A negotiation finished: removes the tracks that the peer no longer sends. */
  removeEnded(): void {
    for (const [transceiver, { shown }] of this.#tracks) {
      const { currentDirection } = transceiver;
      if (currentDirection === 'sendrecv' || currentDirection === 'recvonly') continue;
      this.#tracks.delete(transceiver);
      this.stream.removeTrack(shown.track);
      this.#host.onTrackRemoved(shown);
    }
  }

  /** The member's attributes changed, which hold labels and muted kinds. */
  describe(member: Member): void {
    for (const entry of this.#tracks.values()) {
      const before = entry.shown;
      // A publication that ended has no description, and its last label stays.
      entry.shown = { ...before, ...describe(member, entry.id, before.kind, before.label) };
      if (entry.shown.muted !== before.muted) this.#host.onTrackMuted(entry.shown);
    }
  }

  /** The connection is closed: removes every track. */
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
