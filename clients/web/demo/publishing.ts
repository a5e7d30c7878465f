import { Mesh, type MeshOptions, type Peer, type Publication } from '../src/index.js';
import type { Kind, LocalMedia } from './localMedia.js';

/** The tracks of a peer; a track that is off or muted is missing. */
export interface RemoteMedia {
  readonly microphone: MediaStreamTrack | undefined;
  readonly camera: MediaStreamTrack | undefined;
  readonly screen: MediaStreamTrack | undefined;
}

const KINDS: readonly Kind[] = ['audio', 'video'];
const SCREEN = 'screen';

/**
 * Joins a room and publishes the own devices and the shared screen. The attributes `audio` and `video` of the member are
 * `on` or `off`.
 */
export class Publishing {
  readonly mesh: Mesh;
  readonly #media: LocalMedia;
  readonly #listening = new AbortController();
  #devices: Publication | undefined;
  #screen: Publication | undefined;
  #announced: string;

  /** Joins with the devices that are open. Throws like `Mesh.join`. */
  static async join(room: string, options: MeshOptions, media: LocalMedia): Promise<Publishing> {
    const attributes = attributesOf(media);
    const mesh = await Mesh.join(room, { ...options, stream: openDevices(media), attributes });
    return new Publishing(mesh, media, JSON.stringify(attributes));
  }

  private constructor(mesh: Mesh, media: LocalMedia, announced: string) {
    this.mesh = mesh;
    this.#media = media;
    this.#announced = announced;
    this.#devices = mesh.publications[0];
    media.addEventListener('change', () => this.#update(), { signal: this.#listening.signal });
    this.#update();
  }

  /** Shares a screen, or without a track stops sharing it. */
  setScreen(track: MediaStreamTrack | undefined): void {
    this.#screen?.unpublish();
    this.#screen = track && this.mesh.publish(track, { label: SCREEN });
  }

  /** The tracks that a peer sends. */
  mediaOf({ member, tracks }: Peer): RemoteMedia {
    const find = (kind: Kind, isScreen: boolean) =>
      tracks.find((track) => track.kind === kind && (track.label === SCREEN) === isScreen)?.track;
    return {
      microphone: find('audio', false),
      camera: member.attributes['video'] === 'off' ? undefined : find('video', false),
      screen: find('video', true),
    };
  }

  close(): void {
    this.#listening.abort();
  }

  #update(): void {
    if (this.mesh.session.state === 'ended') return;
    for (const kind of KINDS) {
      const track = this.#media.track(kind) ?? null;
      if (track && !this.#devices) this.#devices = this.mesh.publish(openDevices(this.#media));
      if (this.#devices && this.#devices.trackOf(kind) !== track) void this.#devices.replace(track, kind);
    }
    this.#announce();
  }

  #announce(): void {
    const state = attributesOf(this.#media);
    const text = JSON.stringify(state);
    if (text === this.#announced) return;
    this.#announced = text;
    void this.mesh.update(({ attributes }) => ({ attributes: { ...attributes, ...state } }));
  }
}

function openDevices(media: LocalMedia): MediaStream {
  return new MediaStream(KINDS.flatMap((kind) => media.track(kind) ?? []));
}

function attributesOf(media: LocalMedia): Record<string, string> {
  const text = (kind: Kind) => (media.isOn(kind) ? 'on' : 'off');
  return { audio: text('audio'), video: text('video') };
}
