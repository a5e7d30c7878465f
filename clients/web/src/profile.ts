import type { Outcome, OutgoingMessage } from './outbox.js';

/** What a member can change about itself. */
export interface ProfileValues {
  readonly displayName: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** A change of a profile. Omitted fields stay unchanged; `attributes` replace all attributes. */
export interface ProfileChange {
  readonly displayName?: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

interface Update {
  readonly change: ProfileChange;
  readonly settle: (outcome: Outcome) => void;
}

/**
 * This member's name and attributes as the server accepted them, and the updates whose outcome is not known yet.
 * Updates are idempotent, so updates without an outcome can be sent again in the next session.
 */
export class Profile {
  readonly #send: (message: OutgoingMessage) => Promise<Outcome>;
  readonly #onAccepted: (change: ProfileChange) => void;
  #accepted: ProfileValues;
  #open: Update[] = [];

  constructor(
    initial: ProfileValues,
    send: (message: OutgoingMessage) => Promise<Outcome>,
    onAccepted: (change: ProfileChange) => void,
  ) {
    this.#accepted = { displayName: initial.displayName, attributes: { ...initial.attributes } };
    this.#send = send;
    this.#onAccepted = onAccepted;
  }

  /** The values that the server accepted last. The next join uses them. */
  get accepted(): ProfileValues {
    return this.#accepted;
  }

  /** The values that result if the server accepts all open updates. */
  get expected(): ProfileValues {
    return this.#open.reduce(applyChange, this.#accepted);
  }

  /** Adds an update, and sends it if there is a session. Otherwise `resend` sends it in the next session. */
  update({ displayName, attributes }: ProfileChange, hasSession: boolean): Promise<Outcome> {
    const change = {
      ...(displayName === undefined ? {} : { displayName }),
      ...(attributes === undefined ? {} : { attributes: Object.freeze({ ...attributes }) }),
    };
    return new Promise((settle) => {
      const update = { change, settle };
      this.#open.push(update);
      if (hasSession) void this.#dispatch(update);
    });
  }

  /** Sends all open updates in a new session. */
  resend(): void {
    for (const update of this.#open) void this.#dispatch(update);
  }

  /** Settles the open updates as `unknown`, because no session follows. */
  end(): void {
    for (const { settle } of this.#open.splice(0)) settle({ status: 'unknown' });
  }

  async #dispatch(update: Update): Promise<void> {
    const { displayName, attributes } = update.change;
    const clearAttributes = attributes !== undefined && Object.keys(attributes).length === 0;
    const value = {
      ...(displayName === undefined ? {} : { displayName }),
      attributes: { ...attributes },
      clearAttributes,
    };
    const outcome = await this.#send({ body: { case: 'update', value } });
    // The session was lost with the outcome; `resend` or `end` follows.
    if (outcome.status === 'unknown') return;
    this.#open = this.#open.filter((open) => open !== update);
    if (outcome.status === 'accepted') {
      this.#accepted = applyChange(this.#accepted, update);
      this.#onAccepted(update.change);
    }
    update.settle(outcome);
  }
}

function applyChange(values: ProfileValues, { change }: Pick<Update, 'change'>): ProfileValues {
  return { ...values, ...change };
}
