import type { Mesh, Peer } from '../src/index.js';
import { type AddressChange, watchAddress } from './addressChange.js';
import { Chat } from './chat.js';
import { byId, element } from './dom.js';
import type { LocalMedia } from './media.js';
import { reasonText } from './text.js';
import { nameOf, Tiles } from './tiles.js';

const BRIEF_NOTICE_MS = 3_000;

/** The call view. */
export class Call {
  readonly #mesh: Mesh;
  readonly #media: LocalMedia;
  readonly #tiles: Tiles;
  readonly #chat: Chat;
  readonly #onEnd: (text: string | undefined) => void;
  readonly #listening = new AbortController();
  #bannerTimer: ReturnType<typeof setTimeout> | undefined;
  #addressChange: AddressChange | undefined;

  /** `onEnd` is called at the end of the call, with a text if the user must know the reason. */
  constructor(mesh: Mesh, media: LocalMedia, onEnd: (text: string | undefined) => void) {
    this.#mesh = mesh;
    this.#media = media;
    this.#onEnd = onEnd;
    byId('landing').hidden = true;
    byId('call').hidden = false;
    byId('room-name').textContent = mesh.session.room.name;
    byId('media-notice').textContent = media.notice ?? '';
    byId('media-notice').hidden = !media.notice;
    this.#tiles = new Tiles(() => this.#askForClick());
    this.#chat = new Chat((text) => this.#sendChat(text));
    this.#banner(undefined);
    this.#sessionState('connected');
    this.#bindControls();
    this.#bindMesh();
    this.#showOwn();
    for (const peer of mesh.peers.values()) this.#tiles.showPeer(peer);
    this.#showWhetherAlone();
  }

  /** Leaves the room without waiting for the server. */
  leave(): void {
    this.#close();
    void this.#mesh.leave();
    this.#onEnd(undefined);
  }

  #bindMesh(): void {
    const { session } = this.#mesh;
    this.#mesh.on('peerAdded', (peer) => {
      this.#tiles.showPeer(peer);
      this.#chat.addNotice(`${nameOf(peer)} joined`);
      this.#showWhetherAlone();
    });
    this.#mesh.on('peerChanged', (peer) => this.#tiles.showPeer(peer));
    this.#mesh.on('peerRemoved', ({ peer, reason }) => {
      this.#tiles.removePeer(peer);
      this.#chat.addNotice(reason === 'TIMED_OUT' ? `${nameOf(peer)} lost the connection` : `${nameOf(peer)} left`);
      this.#showWhetherAlone();
    });
    const handleData = watchAddress(this.#mesh, (change) => {
      this.#addressChange = change;
      this.#banner(undefined);
    });
    this.#mesh.on('message', ({ peer, data }) => {
      if (typeof data === 'string') this.#chat.addMessage(nameOf(peer), data, false);
      else if (data instanceof ArrayBuffer) handleData(peer, data);
    });
    session.on('suspended', () => {
      this.#sessionState('suspended');
      if (this.#addressChange?.followed === false) return;
      this.#banner('The connection to the server is lost. The call continues; reconnecting…');
    });
    session.on('resumed', () => {
      this.#sessionState('connected');
      this.#banner('Reconnected.', 'good');
    });
    session.on('rejoined', () => {
      this.#sessionState('connected');
      this.#banner('Reconnected as a new member.', 'good');
      this.#showWhetherAlone();
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
        void session.update(({ attributes }) => ({ attributes: { ...attributes, [kind]: enabled ? 'on' : 'off' } }));
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

  #sendChat(text: string): void {
    this.#chat.addMessage('You', text, true);
    if (this.#tiles.others === 0) {
      this.#chat.addNotice('Not delivered: no other member is in the room.');
      return;
    }
    const missed: Peer[] = this.#mesh.broadcast(text);
    if (missed.length > 0) this.#chat.addNotice(`Not delivered to ${missed.map(nameOf).join(', ')}: not connected.`);
  }

  #showWhetherAlone(): void {
    byId('alone').hidden = this.#tiles.others > 0;
  }

  #sessionState(state: 'connected' | 'suspended'): void {
    const pill = byId('session-state');
    pill.textContent = state === 'connected' ? 'Connected' : 'Reconnecting…';
    pill.className = state === 'connected' ? 'pill' : 'pill waiting';
    pill.dataset['state'] = state;
  }

  /** Shows a text, or without one the notice about a changed address, if any. */
  #banner(text: string | undefined, kind = ''): void {
    clearTimeout(this.#bannerTimer);
    const banner = byId('banner');
    banner.replaceChildren(...(text === undefined ? this.#addressNotice() : [text]));
    banner.hidden = banner.childNodes.length === 0;
    banner.className = `banner ${kind}`;
    if (kind === 'good') this.#bannerTimer = setTimeout(() => this.#banner(undefined), BRIEF_NOTICE_MS);
  }

  /**
   * A reload would fail even if the session followed the server, because the page has the old address. If the session
   * could not follow, the call works without the server for now, so the user decides when to open the new link.
   */
  #addressNotice(): (string | HTMLElement)[] {
    if (!this.#addressChange || this.#listening.signal.aborted) return [];
    const { link, followed } = this.#addressChange;
    if (followed && new URL(link).origin === location.origin) return [];
    const anchor = element('a', '', followed ? 'this link' : 'Open the new link');
    anchor.setAttribute('href', link);
    return followed
      ? [
          'The server has a new address, and this call continues there. Do not reload this page; return with ',
          anchor,
          '.',
        ]
      : ['The server has a new address that this page cannot reach. Connections to other members continue. ', anchor];
  }

  async #copyLink(): Promise<void> {
    const link = new URL(location.pathname + location.search, this.#mesh.session.url).href;
    try {
      await navigator.clipboard.writeText(link);
      this.#labelCopyButton('Copied');
    } catch {
      // The clipboard is unavailable on insecure origins or without permission.
      const field = byId<HTMLInputElement>('link-field');
      field.hidden = false;
      field.value = link;
      field.select();
      this.#labelCopyButton('Press Ctrl+C');
    }
  }

  #labelCopyButton(text: string): void {
    byId('copy-link-text').textContent = text;
    setTimeout(() => {
      byId('copy-link-text').textContent = 'Copy link';
    }, BRIEF_NOTICE_MS);
  }

  #askForClick(): void {
    this.#banner('The browser blocked the sound. Click anywhere to hear the other members.');
    const clicked = () => {
      this.#tiles.retryPlayback();
      this.#banner(undefined);
    };
    document.addEventListener('pointerdown', clicked, { once: true, signal: this.#listening.signal });
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
