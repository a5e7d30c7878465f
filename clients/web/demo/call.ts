import type { Mesh, Peer } from '../src/index.js';
import { Chat } from './chat.js';
import { byId, element } from './dom.js';
import type { LocalMedia } from './media.js';
import { type Moved, watchAddress } from './moved.js';
import { reasonText } from './text.js';
import { nameOf, Tiles } from './tiles.js';

const GOOD_NEWS_MS = 3_000;

/** The page while in a room. */
export class Call {
  readonly #mesh: Mesh;
  readonly #media: LocalMedia;
  readonly #tiles: Tiles;
  readonly #chat: Chat;
  readonly #onEnd: (text: string | undefined) => void;
  readonly #listening = new AbortController();
  #bannerTimer: ReturnType<typeof setTimeout> | undefined;
  #moved: Moved | undefined;

  /** `onEnd`: the call is over; with a text when something is to be told about it. */
  constructor(mesh: Mesh, media: LocalMedia, onEnd: (text: string | undefined) => void) {
    this.#mesh = mesh;
    this.#media = media;
    this.#onEnd = onEnd;
    byId('landing').hidden = true;
    byId('call').hidden = false;
    byId('room-name').textContent = mesh.session.room.name;
    byId('media-notice').textContent = media.notice ?? '';
    byId('media-notice').hidden = !media.notice;
    this.#tiles = new Tiles(() => this.#askForTouch());
    this.#chat = new Chat((text) => this.#say(text));
    this.#banner(undefined);
    this.#sessionState('connected');
    this.#bindControls();
    this.#bindMesh();
    this.#showOwn();
    for (const peer of mesh.peers.values()) this.#tiles.showPeer(peer);
    this.#countMembers();
  }

  /** Leaves; the server is told while the page moves on. */
  leave(): void {
    this.#close();
    void this.#mesh.leave();
    this.#onEnd(undefined);
  }

  #bindMesh(): void {
    const { session } = this.#mesh;
    this.#mesh.on('peerAdded', (peer) => {
      this.#tiles.showPeer(peer);
      this.#chat.note(`${nameOf(peer)} joined`);
      this.#countMembers();
    });
    this.#mesh.on('peerChanged', (peer) => this.#tiles.showPeer(peer));
    this.#mesh.on('peerRemoved', ({ peer, reason }) => {
      this.#tiles.removePeer(peer);
      this.#chat.note(reason === 'TIMED_OUT' ? `${nameOf(peer)} lost the connection` : `${nameOf(peer)} left`);
      this.#countMembers();
    });
    const told = watchAddress(this.#mesh, (moved) => {
      this.#moved = moved;
      this.#banner(undefined);
    });
    this.#mesh.on('message', ({ peer, data }) => {
      if (typeof data === 'string') this.#chat.said(nameOf(peer), data, false);
      else told(peer, data);
    });
    session.on('suspended', () => {
      this.#sessionState('suspended');
      if (this.#moved?.followed === false) return;
      this.#banner('The connection to the server is lost. The call itself goes on; reconnecting…');
    });
    session.on('resumed', () => {
      this.#sessionState('connected');
      this.#banner('Connected again.', 'good');
    });
    session.on('rejoined', () => {
      this.#sessionState('connected');
      this.#banner('Connected again, as a new member.', 'good');
      this.#countMembers();
    });
    session.on('ended', ({ reason, error }) => {
      if (this.#listening.signal.aborted) return;
      this.#close();
      this.#onEnd(reasonText(reason, error));
    });
  }

  #bindControls(): void {
    const options = { signal: this.#listening.signal };
    byId('leave-button').addEventListener('click', () => this.leave(), options);
    byId('copy-link').addEventListener('click', () => void this.#copyLink(), options);
    this.#bindSwitch('mic-button', 'audio', 'Mute microphone', 'Unmute microphone', options);
    this.#bindSwitch('camera-button', 'video', 'Turn camera off', 'Turn camera on', options);
  }

  #bindSwitch(id: string, kind: 'audio' | 'video', on: string, off: string, options: { signal: AbortSignal }): void {
    const button = byId<HTMLButtonElement>(id);
    const tracks = this.#tracks(kind);
    const show = () => {
      const muted = tracks.length > 0 && !isOn(tracks);
      button.setAttribute('aria-pressed', String(muted));
      button.setAttribute('aria-label', muted ? off : on);
      button.title = muted ? off : on;
    };
    button.disabled = tracks.length === 0;
    button.addEventListener(
      'click',
      () => {
        const enabled = !isOn(tracks);
        for (const track of tracks) track.enabled = enabled;
        const { session } = this.#mesh;
        const attributes = { ...session.me.attributes, [kind]: enabled ? 'on' : 'off' };
        void session.update({ attributes });
        show();
        this.#showOwn();
      },
      options,
    );
    show();
  }

  #tracks(kind: 'audio' | 'video'): MediaStreamTrack[] {
    return this.#media.stream?.getTracks().filter((track) => track.kind === kind) ?? [];
  }

  #showOwn(): void {
    const name = this.#mesh.session.me.displayName || 'Guest';
    const audio = isOn(this.#tracks('audio'));
    this.#tiles.showOwn(this.#media.stream, { name, audio, video: isOn(this.#tracks('video')) });
  }

  #say(text: string): void {
    this.#chat.said('You', text, true);
    if (this.#tiles.others === 0) {
      this.#chat.note('Nobody else is here to read this.');
      return;
    }
    const missed: Peer[] = this.#mesh.broadcast(text);
    if (missed.length > 0) this.#chat.note(`Not connected, so not delivered: ${missed.map(nameOf).join(', ')}`);
  }

  #countMembers(): void {
    byId('alone').hidden = this.#tiles.others > 0;
  }

  #sessionState(state: 'connected' | 'suspended'): void {
    const pill = byId('session-state');
    pill.textContent = state === 'connected' ? 'Connected' : 'Reconnecting…';
    pill.className = state === 'connected' ? 'pill' : 'pill waiting';
    pill.dataset['state'] = state;
  }

  /** Tells something; without a text what there is to be told all the time, if there is. */
  #banner(text: string | undefined, kind = ''): void {
    clearTimeout(this.#bannerTimer);
    const banner = byId('banner');
    banner.replaceChildren(...(text === undefined ? this.#whereItIs() : [text]));
    banner.hidden = banner.childNodes.length === 0;
    banner.className = `banner ${kind}`;
    if (kind === 'good') this.#bannerTimer = setTimeout(() => this.#banner(undefined), GOOD_NEWS_MS);
  }

  /**
   * The session may have moved, but the page is still of the old address. Where it could not, the call goes on as long as
   * it can without the server: when to go there is for the member to say.
   */
  #whereItIs(): (string | HTMLElement)[] {
    if (!this.#moved || this.#listening.signal.aborted) return [];
    const { link, followed } = this.#moved;
    if (followed && new URL(link).origin === location.origin) return [];
    const anchor = element('a', '', followed ? 'by this link' : 'Go there');
    anchor.setAttribute('href', link);
    return followed
      ? ['This call has another address now, and goes on there. Do not reload this page, but come back ', anchor, '.']
      : ['This call has another address now; connections between members go on here. ', anchor];
  }

  async #copyLink(): Promise<void> {
    const link = new URL(location.pathname + location.search, this.#mesh.session.url).href;
    try {
      await navigator.clipboard.writeText(link);
      this.#copied('Copied');
    } catch {
      // No clipboard on insecure origins, or no permission: the link is shown and selected instead.
      const field = byId<HTMLInputElement>('link-field');
      field.hidden = false;
      field.value = link;
      field.select();
      this.#copied('Press Ctrl+C');
    }
  }

  #copied(text: string): void {
    byId('copy-link-text').textContent = text;
    setTimeout(() => {
      byId('copy-link-text').textContent = 'Copy link';
    }, GOOD_NEWS_MS);
  }

  #askForTouch(): void {
    this.#banner('Click anywhere to hear the others.');
    const touched = () => {
      this.#tiles.retry();
      this.#banner(undefined);
    };
    document.addEventListener('pointerdown', touched, { once: true, signal: this.#listening.signal });
  }

  #close(): void {
    this.#listening.abort();
    this.#banner(undefined);
    this.#tiles.close();
    this.#chat.close();
    for (const track of this.#media.stream?.getTracks() ?? []) track.stop();
    byId('link-field').hidden = true;
    byId('call').hidden = true;
    byId('landing').hidden = false;
  }
}

function isOn(tracks: MediaStreamTrack[]): boolean {
  return tracks.some((track) => track.enabled);
}
