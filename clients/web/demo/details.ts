import type { Mesh, Peer } from '../src/index.js';
import { bindDeviceChoice } from './deviceChoice.js';
import { byId, element } from './dom.js';
import type { LocalMedia } from './localMedia.js';
import { nameOf } from './members.js';
import type { Panels } from './panels.js';

const MAX_SIGNALS = 30;

/** The panel with device choice, the paths of all connections, and the last signals. */
export class Details {
  readonly #mesh: Mesh;
  readonly #panels: Panels;
  readonly #signals = byId('signals');

  constructor(mesh: Mesh, media: LocalMedia, panels: Panels, signal: AbortSignal) {
    this.#mesh = mesh;
    this.#panels = panels;
    this.#signals.replaceChildren();
    panels.add('details', 'details-button', () => this.show());
    bindDeviceChoice(byId('call-devices'), media, signal);
    this.#recordSignals();
  }

  /** Shows the current connections, if the panel is open. */
  show(): void {
    if (!this.#panels.isOpen('details')) return;
    const peers = [...this.#mesh.peers.values()];
    const content = peers.map((peer) => this.#connection(peer));
    if (content.length === 0) content.push(element('p', 'hint', 'No other member is in the room.'));
    byId('connections').replaceChildren(...content);
  }

  #connection(peer: Peer): HTMLElement {
    const { path, state, quality, error } = peer;
    const relayed = path?.local === 'relay' || path?.remote === 'relay';
    const rows: [string, string | undefined][] = [
      ['State', state],
      ['Route', path && (relayed ? 'through a relay (TURN)' : 'direct')],
      ['Path', path && `${path.local} to ${path.remote}`],
      ['Transport', path?.protocol],
      ['Reason', error && `${error.reason}: ${error.message}`],
      ['Round trip', quality.rttMs === undefined ? undefined : `${quality.rttMs} ms`],
      ['Loss', state === 'connected' ? `${percent(quality.lossIn)} in, ${percent(quality.lossOut)} out` : undefined],
      ['Received', state === 'connected' ? `${Math.round(quality.bitrate / 1_000)} kbit/s` : undefined],
    ];
    const list = element('dl', 'facts', '');
    for (const [term, value] of rows) {
      if (value !== undefined) list.append(element('dt', '', term), element('dd', '', value));
    }
    const root = element('div', 'connection', '');
    root.append(element('h4', '', nameOf(peer)), list);
    return root;
  }

  #recordSignals(): void {
    const { session } = this.#mesh;
    const name = (memberId: string) => session.members.get(memberId)?.displayName || 'Guest';
    session.on('offer', ({ from }) => this.#record(`offer from ${name(from)}`));
    session.on('answer', ({ from }) => this.#record(`answer from ${name(from)}`));
    session.on('candidate', ({ from, candidate }) => this.#record(`${candidateText(candidate)} from ${name(from)}`));
    session.on('memberJoined', ({ displayName }) => this.#record(`${displayName || 'Guest'} joined`));
    session.on('memberUpdated', ({ displayName }) => this.#record(`${displayName || 'Guest'} changed`));
    session.on('memberLeft', ({ member, reason }) => this.#record(`${member.displayName || 'Guest'} left: ${reason}`));
    session.on('suspended', ({ error }) => this.#record(`server connection lost${error ? `: ${error.reason}` : ''}`));
    session.on('resumed', () => this.#record('session resumed'));
    session.on('rejoined', () => this.#record('joined again as a new member'));
  }

  #record(text: string): void {
    const time = new Date().toLocaleTimeString(undefined, { hour12: false });
    const line = element('li', '', '');
    line.append(element('time', '', time), ` ${text}`);
    this.#signals.prepend(line);
    while (this.#signals.childElementCount > MAX_SIGNALS) this.#signals.lastElementChild?.remove();
  }
}

/** The type and transport of a candidate, without its address. */
function candidateText({ candidate = '' }: RTCIceCandidateInit): string {
  const [, , transport, , , , , type] = candidate.split(' ');
  return type ? `candidate (${type}, ${transport?.toLowerCase()})` : 'end of candidates';
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}
