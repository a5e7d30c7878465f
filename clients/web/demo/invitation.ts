import type { Session } from '../src/index.js';
import { byId } from './dom.js';

const BRIEF_MS = 3_000;
/** The identity of a share (scripts/share.sh) for all visitors, who have the same link. */
const GUEST_IDENTITY = 'guest';
/** The identity of the user who runs the share. */
const HOST_IDENTITY = 'host';

/** How the own page got in. */
export interface Access {
  readonly token: string | undefined;
  readonly passcode: string;
}

/** The link to the room, where a link lets others in. */
export class Invitation {
  readonly #session: Session;
  readonly #access: Access;
  #alone = true;
  // Shown in a call too, because the link could not be copied.
  #opened = false;

  constructor(session: Session, access: Access, signal: AbortSignal) {
    this.#session = session;
    this.#access = access;
    const copyLink = byId('copy-link');
    const inviteButton = byId('invite-button');
    copyLink.addEventListener('click', () => void this.#copy(byId('copy-link-text')), { signal });
    inviteButton.addEventListener('click', () => void this.#copy(inviteButton), { signal });
    byId('share-link').addEventListener('click', () => void this.#share(), { signal });
    byId('invitation-close').addEventListener(
      'click',
      () => {
        this.#opened = false;
        this.#show();
        copyLink.focus();
      },
      { signal },
    );
    byId('link-field').addEventListener('focus', () => byId<HTMLInputElement>('link-field').select(), { signal });
    const link = this.#link();
    copyLink.hidden = byId('invitation-link').hidden = link === undefined;
    byId('share-link').hidden = link === undefined || typeof navigator.share !== 'function';
    byId('invitation-text').textContent = this.#text(link);
  }

  /** Shows the invitation while no other member is in the room. */
  show(alone: boolean): void {
    this.#alone = alone;
    this.#show();
  }

  #show(): void {
    const field = byId<HTMLInputElement>('link-field');
    const link = this.#link() ?? '';
    // The address of a shared server may have changed. Equal text keeps its selection.
    if (field.value !== link) field.value = link;
    byId('invitation').hidden = !this.#alone && !this.#opened;
    byId('invitation-close').hidden = this.#alone;
    byId('invitation-title').textContent = this.#alone ? 'Waiting for others to join' : 'Invite others';
  }

  /** A link that lets others in, or undefined: a token of one person must not be passed on. */
  #link(): string | undefined {
    const { token } = this.#access;
    const link = new URL(`${location.pathname}?room=${this.#session.room.name}`, this.#session.url).href;
    if (!token) return link;
    const { me, room } = this.#session;
    return me.identity === GUEST_IDENTITY && room.allowsDuplicates ? `${link}#token=${token}` : undefined;
  }

  #text(link: string | undefined): string {
    if (!link) {
      const { me, room } = this.#session;
      if (me.identity === HOST_IDENTITY && room.allowsDuplicates) {
        return 'Send the link for visitors, which your terminal shows, to the people you want to talk to.';
      }
      return 'On this server each member needs a link of their own. Ask the person who sent you your link to invite others.';
    }
    return this.#access.passcode
      ? 'Send this link and the passcode to the people you want to talk to.'
      : 'Send this link to the people you want to talk to.';
  }

  async #copy(label: HTMLElement): Promise<void> {
    const link = this.#link() ?? '';
    try {
      await navigator.clipboard.writeText(link);
      showBriefly(label, 'Copied');
    } catch {
      // The clipboard is unavailable on insecure origins or without permission.
      this.#opened = true;
      this.#show();
      const field = byId<HTMLInputElement>('link-field');
      field.focus();
      field.select();
      showBriefly(label, 'Press Ctrl+C');
    }
  }

  async #share(): Promise<void> {
    // Rejects if the user cancels.
    await navigator.share({ title: `Call in ${this.#session.room.name}`, url: this.#link() ?? '' }).catch(() => {});
  }
}

function showBriefly(label: HTMLElement, text: string): void {
  label.textContent = text;
  setTimeout(() => {
    label.textContent = 'Copy link';
  }, BRIEF_MS);
}
