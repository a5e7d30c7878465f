import type { Peer } from '../src/index.js';
import { announce } from './banner.js';
import { nameOf } from './members.js';
import { messageText, tileState } from './text.js';

/** Announces to screen readers what the tiles show: connections that are lost, and those that are back. */
export class StateWatch {
  readonly #last = new WeakMap<Peer, string>();

  /** Compares a peer with its last state. */
  check(peer: Peer): void {
    const state = peer.state === 'connected' ? tileState(peer.member, peer.state) : peer.state;
    const last = this.#last.get(peer);
    this.#last.set(peer, state);
    if (last === undefined || last === state || state === 'closed') return;
    if (state === 'connected') announce(`${nameOf(peer)} is connected`);
    else if (state === 'suspended') announce(`${nameOf(peer)} has lost the server and is reconnecting`);
    else announce(`${nameOf(peer)}: ${messageText(peer.state, peer.error?.reason)}`);
  }
}
