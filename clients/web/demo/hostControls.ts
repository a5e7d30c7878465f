import type { Session } from '../src/index.js';
import { announce } from './banner.js';
import { byId } from './dom.js';
import { RoomsClient } from './roomsClient.js';

/** What the holder of a token with `can_admin` may do: remove members and lock the room. */
export class HostControls {
  readonly #rooms: RoomsClient;

  /** Returns the controls if the token permits them and the server serves Rooms to this page. */
  static async create(
    session: Session,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<HostControls | undefined> {
    byId('host-controls').hidden = true;
    if (!token || !isAdmin(token)) return undefined;
    const rooms = new RoomsClient(() => session.url, token, session.room.name);
    try {
      const locked = await rooms.isLocked();
      return signal.aborted ? undefined : new HostControls(rooms, locked, signal);
    } catch {
      // Rooms is on an admin listener that browsers cannot reach, or the network is down.
      return undefined;
    }
  }

  private constructor(rooms: RoomsClient, locked: boolean, signal: AbortSignal) {
    this.#rooms = rooms;
    const lock = byId<HTMLInputElement>('lock-room');
    lock.checked = locked;
    lock.addEventListener('change', () => void this.#setLocked(lock), { signal });
    byId('host-controls').hidden = false;
  }

  /** Removes a member after a confirmation. */
  async remove(memberId: string, name: string): Promise<void> {
    if (!confirm(`Remove ${name} from the room?`)) return;
    await this.#rooms.removeMember(memberId).catch(() => announce(`${name} could not be removed. Try again.`));
  }

  async #setLocked(lock: HTMLInputElement): Promise<void> {
    const error = byId('host-error');
    try {
      await this.#rooms.setLocked(lock.checked);
      error.textContent = '';
    } catch {
      lock.checked = !lock.checked;
      error.textContent = 'The room could not be changed. Try again.';
    }
  }
}

/** Reads `can_admin` from the token. The server verifies it. */
function isAdmin(token: string): boolean {
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const claims: unknown = JSON.parse(atob(payload));
    return typeof claims === 'object' && claims !== null && 'can_admin' in claims && claims.can_admin === true;
  } catch {
    return false;
  }
}
