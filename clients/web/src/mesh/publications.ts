import type { Session } from '../session.js';
import type { Connection } from './connection.js';
import type { Peer } from './peer.js';
import { Publication, type PublishOptions } from './publication.js';
import { PUBLICATIONS_ATTRIBUTE, writePublications } from './publicationList.js';
import type { WebRtc } from './webrtc.js';

/**
 * Total bitrate of all videos to all peers, in bits per second, which leaves capacity for audio on an uplink of
 * 5 Mbit/s. Peers and videos get equal shares.
 */
const UPSTREAM_BITRATE = 4_000_000;
/** Maximum bitrate of one video to one peer, in bits per second. More does not visibly improve 1280x720. */
const MAX_VIDEO_BITRATE = 2_500_000;

/** Delay before the description of the publications is sent again, in milliseconds. */
const RETRY_DESCRIPTION_MS = 1_000;
/** Value of `#description` after the server rejected an update, so that the next one is sent. */
const NOT_ACCEPTED = 'not accepted';
/** What `Publications` requires from its mesh. */
export interface PublicationsHost {
  /** Every peer with a connection. */
  peers(): Peer[];
  onWarning(peer: Peer | undefined, error: unknown): void;
}

/** The publications of a mesh. Sends them to every peer, and describes them in an attribute of this member. */
export class Publications {
  readonly #session: Session;
  readonly #webrtc: WebRtc;
  readonly #host: PublicationsHost;
  readonly #publications = new Set<Publication>();
  // The attribute as last sent.
  #description: string | undefined;

  constructor(session: Session, webrtc: WebRtc, host: PublicationsHost) {
    this.#session = session;
    this.#webrtc = webrtc;
    this.#host = host;
  }

  get all(): readonly Publication[] {
    return [...this.#publications];
  }

  /** See `Mesh.publish`. */
  publish(source: MediaStreamTrack | MediaStream, options: PublishOptions): Publication {
    const tracks = 'getTracks' in source ? source.getTracks() : [source];
    const publication = new Publication(tracks, options, new this.#webrtc.MediaStream(tracks), {
      onTracks: () => this.#updateSenders(),
      onEncoding: () => this.#updateSenders(),
      onDescription: () => this.#describe(),
      onUnpublished: (publication) => {
        this.#publications.delete(publication);
        this.#describe();
        this.update();
      },
    });
    this.#publications.add(publication);
    // Send the description before the offers, so that receivers know the label when the track arrives.
    this.#describe();
    this.update();
    return publication;
  }

  /** Adds all publications to a new connection. */
  addTo(connection: Connection): void {
    this.#adoptReplacedTracks();
    connection.senders.sync(this.#publications).catch((error) => this.#host.onWarning(undefined, error));
  }

  /** Updates the senders and bitrates of every connection. */
  update(): void {
    void this.#updateSenders();
  }

  async #updateSenders(): Promise<void> {
    const peers = this.#host.peers();
    const videos = this.all.filter((publication) => publication.kinds.has('video')).length;
    const share = Math.min(MAX_VIDEO_BITRATE, Math.floor(UPSTREAM_BITRATE / Math.max(1, peers.length * videos)));
    const update = async (peer: Peer) => {
      try {
        await peer.current?.senders.sync(this.#publications);
        await peer.current?.senders.encode(share);
      } catch (error) {
        this.#host.onWarning(peer, error);
      }
    };
    await Promise.all(peers.map(update));
  }

  /** Adopts tracks that the application set directly on a sender in place of an ended one, for new connections. */
  #adoptReplacedTracks(): void {
    for (const publication of this.#publications) {
      for (const [kind, track] of publication.kinds) {
        if (track?.readyState !== 'ended') continue;
        const found = this.#host.peers().map((peer) => peer.current?.senders.replacement(publication, kind));
        const replacement = found.find((candidate) => candidate !== undefined);
        if (replacement) void publication.replace(replacement);
      }
    }
  }

  #describe(): void {
    const description = writePublications(this.#publications);
    if (description === this.#description) return;
    this.#description = description;
    const update = this.#session.update(({ attributes: { [PUBLICATIONS_ATTRIBUTE]: _, ...attributes } }) => ({
      attributes: description === undefined ? attributes : { ...attributes, [PUBLICATIONS_ATTRIBUTE]: description },
    }));
    void update.then((outcome) => {
      if (outcome.status !== 'undelivered' || this.#description !== description) return;
      const { reason, retryAfterMs = RETRY_DESCRIPTION_MS } = outcome.failures[0];
      const error = new Error(`the other members do not know what is published: ${reason}`);
      this.#host.onWarning(undefined, error);
      this.#description = NOT_ACCEPTED;
      if (reason === 'RATE_LIMITED') setTimeout(() => this.#describe(), retryAfterMs);
    });
  }
}
