import { Mesh, type MeshOptions, type Peer } from '../src/index.js';
import type { Kind, LocalMedia } from './localMedia.js';

/** What a member sends. */
export type Label = 'microphone' | 'camera' | 'screen';

/** The tracks of a peer; a track that is off or muted is missing. */
export type RemoteMedia = Readonly<Record<Label, MediaStreamTrack | undefined>>;

const KINDS: readonly Kind[] = ['audio', 'video'];

/**
 * Joins a room and sends the own tracks to every peer, present and future. Attributes of the member say which are on:
 * `audio`, `video` and `screen` are `on` or `off`. The screen takes the place of the camera while it is shared.
 */
export class Publishing {
  readonly mesh: Mesh;
  readonly #media: LocalMedia;
  readonly #stream: MediaStream;
  readonly #listening = new AbortController();
  // The mesh has no way to replace a track of all peers.
  readonly #senders: Readonly<Record<Kind, WeakMap<RTCPeerConnection, RTCRtpSender>>> = {
    audio: new WeakMap(),
    video: new WeakMap(),
  };
  #screen: MediaStreamTrack | undefined;
  #announced: string;

  /** Joins with the devices that are open. Throws like `Mesh.join`. */
  static async join(room: string, options: MeshOptions, media: LocalMedia): Promise<Publishing> {
    const stream = new MediaStream(KINDS.flatMap((kind) => media.track(kind) ?? []));
    const attributes = attributesOf(media, undefined);
    const mesh = await Mesh.join(room, { ...options, stream, attributes });
    return new Publishing(mesh, media, stream, JSON.stringify(attributes));
  }

  private constructor(mesh: Mesh, media: LocalMedia, stream: MediaStream, announced: string) {
    this.mesh = mesh;
    this.#media = media;
    this.#stream = stream;
    this.#announced = announced;
    mesh.on('peerAdded', (peer) => this.#send(peer));
    mesh.on('peerChanged', (peer) => this.#send(peer));
    media.addEventListener('change', () => this.#update(), { signal: this.#listening.signal });
    this.#update();
  }

  /** Shares a screen, or without a track stops sharing it. */
  setScreen(track: MediaStreamTrack | undefined): void {
    this.#screen = track;
    this.#update();
  }

  /** The tracks that a peer sends. */
  mediaOf(peer: Peer): RemoteMedia {
    const { attributes } = peer.member;
    const track = (kind: Kind) =>
      peer.stream
        .getTracks()
        .filter((track) => track.kind === kind)
        .at(-1);
    const sharesScreen = attributes['screen'] === 'on';
    return {
      microphone: track('audio'),
      camera: sharesScreen || attributes['video'] === 'off' ? undefined : track('video'),
      screen: sharesScreen ? track('video') : undefined,
    };
  }

  close(): void {
    this.#listening.abort();
  }

  #update(): void {
    for (const kind of KINDS) {
      const [before] = this.#stream.getTracks().filter((track) => track.kind === kind);
      const track = this.#track(kind);
      if (before === track) continue;
      // The mesh adds the tracks of this stream to new connections.
      if (before) this.#stream.removeTrack(before);
      if (track) this.#stream.addTrack(track);
    }
    for (const peer of this.mesh.peers.values()) this.#send(peer);
    this.#announce();
  }

  #track(kind: Kind): MediaStreamTrack | undefined {
    return (kind === 'video' ? this.#screen : undefined) ?? this.#media.track(kind);
  }

  #send({ connection, state }: Peer): void {
    if (state === 'closed') return;
    for (const kind of KINDS) {
      const senders = this.#senders[kind];
      const track = this.#track(kind);
      const sender = senders.get(connection) ?? connection.getSenders().find((sender) => sender.track?.kind === kind);
      if (sender) {
        senders.set(connection, sender);
        if (sender.track !== (track ?? null)) void sender.replaceTrack(track ?? null).catch(() => {});
      } else if (track) {
        senders.set(connection, connection.addTrack(track, this.#stream));
      }
    }
  }

  #announce(): void {
    const { session } = this.mesh;
    if (session.state === 'ended') return;
    const state = attributesOf(this.#media, this.#screen);
    const text = JSON.stringify(state);
    if (text === this.#announced) return;
    this.#announced = text;
    void session.update({ attributes: { ...session.me.attributes, ...state } });
  }
}

function attributesOf(media: LocalMedia, screen: MediaStreamTrack | undefined): Record<string, string> {
  const text = (on: boolean) => (on ? 'on' : 'off');
  return { audio: text(media.isOn('audio')), video: text(media.isOn('video')), screen: text(screen !== undefined) };
}
