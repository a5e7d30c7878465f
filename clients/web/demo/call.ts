import type { Mesh, Peer } from '../src/index.js';
import { watchAddress } from './addressChange.js';
import { addressNotice } from './addressNotice.js';
import { Banner } from './banner.js';
import { Chat } from './chat.js';
import { bindControls } from './controls.js';
import { Details } from './details.js';
import { byId } from './dom.js';
import { HostControls } from './hostControls.js';
import { type Access, Invitation } from './invitation.js';
import type { LocalMedia } from './localMedia.js';
import { MediaNotice } from './mediaNotice.js';
import { keyOf, nameOf, OWN, ownViews, peerViews } from './members.js';
import { Panels } from './panels.js';
import type { Publishing } from './publishing.js';
import { ScreenShare } from './screenShare.js';
import { bindShortcuts } from './shortcuts.js';
import { Speaking } from './speaking.js';
import { Stage } from './stage.js';
import { StateWatch } from './stateWatch.js';
import { reasonText } from './text.js';

/** The call view: connects the mesh with its parts. */
export class Call {
  readonly #mesh: Mesh;
  readonly #publishing: Publishing;
  readonly #media: LocalMedia;
  readonly #screen = new ScreenShare();
  readonly #banner = new Banner();
  readonly #stage: Stage;
  readonly #chat: Chat;
  readonly #details: Details;
  readonly #invitation: Invitation;
  readonly #speaking: Speaking<string>;
  readonly #onEnd: (text: string | undefined) => void;
  readonly #listening = new AbortController();
  // Includes peers whose member is lost and may rejoin, which the mesh no longer lists.
  readonly #peers = new Set<Peer>();
  readonly #states = new StateWatch();
  #host: HostControls | undefined;
  // Set once the session cannot follow the server to a new address.
  #isStranded = false;

  /** `onEnd` is called at the end of the call, with a text if the user must know the reason. */
  constructor(publishing: Publishing, media: LocalMedia, access: Access, onEnd: (text: string | undefined) => void) {
    const { mesh } = publishing;
    const { signal } = this.#listening;
    this.#mesh = mesh;
    this.#publishing = publishing;
    this.#media = media;
    this.#onEnd = onEnd;
    byId('call').hidden = false;
    byId('room-name').textContent = mesh.session.room.name;
    this.#stage = new Stage(
      () => this.#askForClick(),
      (key) => this.#remove(key),
    );
    const panels = new Panels(signal);
    this.#chat = new Chat(panels, signal, (text) => this.#sendChat(text));
    mesh.on('quality', () => this.#show());
    this.#details = new Details(mesh, media, panels, signal);
    this.#invitation = new Invitation(mesh.session, access, signal);
    this.#speaking = new Speaking(
      () => [...this.#peers].map((peer) => [keyOf(peer), peer] as const),
      (key, speaking) => this.#stage.tiles.get(key)?.showSpeaking(speaking),
    );
    new MediaNotice(media, signal);
    bindControls(media, this.#screen, signal);
    bindShortcuts(() => this.#stage.pinNext(), signal);
    byId('leave-button').addEventListener('click', () => this.leave(), { signal });
    media.addEventListener('change', () => this.#show(), { signal });
    this.#screen.addEventListener('change', () => this.#shareScreen(), { signal });
    void HostControls.create(mesh.session, access.token, signal).then((host) => {
      this.#host = host;
      this.#show();
    });
    this.#banner.close();
    this.#showSession('connected');
    this.#bindMesh();
    this.#show();
    byId('room-name').focus();
  }

  /** Leaves the room without waiting for the server. */
  leave(): void {
    this.#close();
    void this.#mesh.leave();
    this.#onEnd(undefined);
  }

  #bindMesh(): void {
    for (const peer of this.#mesh.peers.values()) this.#peers.add(peer);
    this.#mesh.on('peerAdded', (peer) => {
      this.#peers.add(peer);
      this.#chat.addNotice(`${nameOf(peer)} joined`);
      this.#show();
    });
    this.#mesh.on('peerChanged', (peer) => {
      this.#states.check(peer);
      this.#show();
    });
    this.#mesh.on('peerRemoved', ({ peer, reason }) => {
      this.#peers.delete(peer);
      this.#chat.addNotice(reason === 'TIMED_OUT' ? `${nameOf(peer)} lost the connection` : `${nameOf(peer)} left`);
      this.#show();
    });
    const handleData = watchAddress(this.#mesh, (change) => {
      this.#isStranded = !change.followed;
      this.#banner.setLasting(addressNotice(change));
    });
    this.#mesh.on('message', ({ peer, data }) => {
      if (typeof data === 'string') this.#chat.addMessage(nameOf(peer), data, false);
      else if (data instanceof ArrayBuffer) handleData(peer, data);
    });
    this.#bindSession();
  }

  #bindSession(): void {
    const { session } = this.#mesh;
    session.on('suspended', () => {
      this.#showSession('suspended');
      if (this.#isStranded) return;
      this.#banner.show('The connection to the server is lost. The call continues; reconnecting…');
    });
    session.on('resumed', () => {
      this.#showSession('connected');
      this.#banner.showBriefly('Reconnected.');
    });
    session.on('rejoined', () => {
      this.#showSession('connected');
      this.#banner.showBriefly('Reconnected as a new member.');
      this.#show();
    });
    session.on('ended', ({ reason, error }) => {
      if (this.#listening.signal.aborted) return;
      this.#close();
      this.#onEnd(reasonText(reason, error));
    });
  }

  #show(): void {
    if (this.#listening.signal.aborted) return;
    const peers = [...this.#peers];
    const name = this.#mesh.session.me.displayName || 'Guest';
    const others = peers.flatMap((peer) => peerViews(peer, this.#publishing, !!this.#host));
    this.#stage.show([...others, ...ownViews(name, this.#media, this.#screen.track)]);
    this.#speaking.watchOwn(OWN, this.#media.track('audio'));
    this.#invitation.show(peers.length === 0);
    this.#details.show();
  }

  #remove(key: string): void {
    const peer = [...this.#peers].find((peer) => keyOf(peer) === key);
    if (peer) void this.#host?.remove(peer.member.memberId, nameOf(peer));
  }

  #shareScreen(): void {
    this.#publishing.setScreen(this.#screen.track);
    this.#show();
  }

  #sendChat(text: string): void {
    this.#chat.addMessage('You', text, true);
    if (this.#peers.size === 0) {
      this.#chat.addNotice('Not delivered: no other member is in the room.');
      return;
    }
    const missed = this.#mesh.broadcast(text);
    if (missed.length > 0) this.#chat.addNotice(`Not delivered to ${missed.map(nameOf).join(', ')}: not connected.`);
  }

  #showSession(state: 'connected' | 'suspended'): void {
    const pill = byId('session-state');
    pill.textContent = state === 'connected' ? 'Connected' : 'Reconnecting…';
    pill.className = state === 'connected' ? 'pill' : 'pill waiting';
    pill.dataset['state'] = state;
  }

  #askForClick(): void {
    this.#banner.show('The browser blocked the sound. Click anywhere to hear the other members.');
    const clicked = () => {
      this.#stage.retryPlayback();
      this.#banner.clear();
    };
    document.addEventListener('pointerdown', clicked, { once: true, signal: this.#listening.signal });
  }

  #close(): void {
    this.#listening.abort();
    this.#publishing.close();
    this.#speaking.close();
    this.#screen.stop();
    this.#stage.close();
    this.#banner.close();
    byId('call').hidden = true;
  }
}
