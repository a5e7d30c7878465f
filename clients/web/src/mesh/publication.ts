/** How a video is encoded for each peer. The mesh lowers the bitrate further as the number of peers grows. */
export interface PublishEncoding {
  /** Bits per second to each peer. */
  maxBitrate?: number | undefined;
  /** Frames per second. */
  maxFramerate?: number | undefined;
  /** Divides width and height; at least 1. */
  scaleResolutionDownBy?: number | undefined;
}

/** Options of `Mesh.publish`. */
export interface PublishOptions extends PublishEncoding {
  /** Describes the media to the other members, such as `camera`; at most 64 characters. Default: `media`. */
  label?: string | undefined;
}

/** What a publication requires from its mesh. */
export interface PublicationHost {
  /** The tracks of the publication changed: update every connection. */
  onTracks(publication: Publication): Promise<void>;
  /** The encoding changed: update every sender. */
  onEncoding(publication: Publication): Promise<void>;
  /** The label or the muted kinds changed: notify the other members. */
  onDescription(): void;
  onUnpublished(publication: Publication): void;
}

/** The kind of a track. */
export type Kind = 'audio' | 'video';

/**
 * Media that the mesh sends to every peer, present and future, even after a connection is replaced. It has at most one
 * track of each kind.
 */
export class Publication {
  /** Describes the media to the other members. */
  readonly label: string;
  /** @internal Groups the tracks, which receivers play in sync. */
  readonly stream: MediaStream;
  readonly #host: PublicationHost;
  readonly #kinds = new Map<Kind, MediaStreamTrack | null>();
  readonly #muted = new Set<Kind>();
  #encoding: PublishEncoding;
  #isPublished = true;

  /** @internal Created by `Mesh.publish`. */
  constructor(
    tracks: readonly MediaStreamTrack[],
    { label = 'media', ...encoding }: PublishOptions,
    stream: MediaStream,
    host: PublicationHost,
  ) {
    for (const track of tracks) {
      const kind = kindOf(track);
      if (this.#kinds.has(kind)) throw new TypeError(`two ${kind} tracks in one publication: publish each separately`);
      this.#kinds.set(kind, track);
    }
    if (tracks.length === 0) throw new TypeError('nothing to publish: the stream has no track');
    if (label.length > 64) throw new TypeError('label longer than 64 characters');
    this.label = label;
    this.stream = stream;
    this.#encoding = encoding;
    this.#host = host;
  }

  /** The tracks that are sent. */
  get tracks(): MediaStreamTrack[] {
    return [...this.#kinds.values()].filter((track) => track !== null);
  }

  /** The first track, or null if the publication sends none. */
  get track(): MediaStreamTrack | null {
    return this.tracks[0] ?? null;
  }

  /** The track of a kind, or null if the publication sends none. */
  trackOf(kind: Kind): MediaStreamTrack | null {
    return this.#kinds.get(kind) ?? null;
  }

  /** Whether every kind is muted. */
  get muted(): boolean {
    return this.#muted.size === this.#kinds.size;
  }

  /** The kinds that are muted. */
  get mutedKinds(): Kind[] {
    return [...this.#muted];
  }

  /** @internal Every kind with its track, or null. */
  get kinds(): ReadonlyMap<Kind, MediaStreamTrack | null> {
    return this.#kinds;
  }

  /** @internal */
  get encoding(): PublishEncoding {
    return this.#encoding;
  }

  /**
   * Replaces the track of the same kind without a new negotiation, or adds the first track of its kind.
   *
   * `null` stops sending, so that the camera can be released. `kind` restricts `null` to audio or video.
   */
  async replace(track: MediaStreamTrack | null, kind?: Kind): Promise<void> {
    const kinds = track ? [kindOf(track)] : kind ? [kind] : [...this.#kinds.keys()];
    for (const each of kinds) {
      this.#kinds.set(each, track);
      if (track) track.enabled = !this.#muted.has(each);
    }
    if (this.#isPublished) await this.#host.onTracks(this);
  }

  /**
   * Mutes or unmutes the tracks, and notifies the other members. `kind` restricts the change to audio or video.
   *
   * A muted camera stays in use. To release it, stop the track and call `replace(null)`.
   */
  async setMuted(muted: boolean, kind?: Kind): Promise<void> {
    for (const [each, track] of this.#kinds) {
      if (kind !== undefined && each !== kind) continue;
      if (muted) this.#muted.add(each);
      else this.#muted.delete(each);
      if (track) track.enabled = !muted;
    }
    if (this.#isPublished) this.#host.onDescription();
  }

  /** Changes the encoding. Omitted fields stay unchanged. */
  async update(encoding: PublishEncoding): Promise<void> {
    this.#encoding = { ...this.#encoding, ...encoding };
    if (this.#isPublished) await this.#host.onEncoding(this);
  }

  /** Stops sending. The tracks stay live, because they belong to the application. */
  unpublish(): void {
    if (!this.#isPublished) return;
    this.#isPublished = false;
    this.#host.onUnpublished(this);
  }
}

/** The kind of a track. */
export function kindOf(track: MediaStreamTrack): Kind {
  return track.kind === 'audio' ? 'audio' : 'video';
}
