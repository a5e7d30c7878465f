import { rememberDevice, rememberedDevice } from './storage.js';

export type Kind = 'audio' | 'video';
/** Why a device is off although the user wanted it on. */
export type Trouble = 'blocked' | 'missing' | 'busy' | 'unplugged' | 'failed';
/** Which way the camera of a phone looks. */
type Facing = 'user' | 'environment';

const KINDS: readonly Kind[] = ['audio', 'video'];

interface Device {
  track: MediaStreamTrack | undefined;
  /** Whether the user wants it on. */
  wanted: boolean;
  trouble: Trouble | undefined;
}

/**
 * The camera and microphone. A muted microphone stays open, so that unmuting is immediate. A camera that is off is
 * closed, so that its light is off. Fires `change` when anything changes.
 */
export class LocalMedia extends EventTarget {
  readonly #devices: Readonly<Record<Kind, Device>> = {
    audio: { track: undefined, wanted: true, trouble: undefined },
    video: { track: undefined, wanted: true, trouble: undefined },
  };
  readonly #listening = new AbortController();
  #facing: Facing = 'user';
  #opening: Promise<void> | undefined;
  // Increases when a pending request is abandoned; its tracks are closed when they arrive.
  #generation = 0;

  constructor() {
    super();
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    devices?.addEventListener?.('devicechange', () => this.#changed(), { signal: this.#listening.signal });
  }

  /** The open device, if any. A muted microphone has one too. */
  track(kind: Kind): MediaStreamTrack | undefined {
    return this.#devices[kind].track;
  }

  /** Whether the device is open and not muted. */
  isOn(kind: Kind): boolean {
    const { track, wanted } = this.#devices[kind];
    return wanted && track !== undefined;
  }

  /** Whether the user wants the device on. */
  isWanted(kind: Kind): boolean {
    return this.#devices[kind].wanted;
  }

  trouble(kind: Kind): Trouble | undefined {
    return this.#devices[kind].trouble;
  }

  /** Whether the browser is asking the user, or opening a device. */
  get isOpening(): boolean {
    return this.#opening !== undefined;
  }

  /** Whether own video is shown as in a mirror. */
  get isMirrored(): boolean {
    return this.#facing === 'user';
  }

  /** Whether a request would be useful: a wanted device is closed, and nothing has gone wrong with it yet. */
  get canOpen(): boolean {
    return KINDS.some((kind) => this.#isMissing(kind) && !this.trouble(kind));
  }

  /** Requests the devices that are wanted and closed. Never rejects; see `trouble`. */
  open(): Promise<void> {
    if (whyNoMedia()) return Promise.resolve();
    if (this.#opening) return this.#opening;
    const opening = this.#open().then(() => {
      // Abandoned, and perhaps requested again.
      if (this.#opening !== opening) return;
      this.#opening = undefined;
      this.#changed();
    });
    this.#opening = opening;
    this.#changed();
    return opening;
  }

  /** Stops waiting for an answer of the user. The devices become unwanted. */
  abandon(): void {
    if (!this.#opening) return;
    this.#generation += 1;
    this.#opening = undefined;
    for (const kind of KINDS) if (!this.track(kind)) this.#devices[kind].wanted = false;
    this.#changed();
  }

  /** Turns a device on or off. Turning it on requests it if needed. */
  async setOn(kind: Kind, on: boolean): Promise<void> {
    const device = this.#devices[kind];
    device.wanted = on;
    device.trouble = undefined;
    if (kind === 'audio' && device.track) device.track.enabled = on;
    else if (!on) this.#stop(kind);
    this.#changed();
    if (on && !device.track) {
      // A request for the other device does not include this one.
      await this.#opening;
      await this.open();
    }
  }

  /** Changes to another device, now if it is open. */
  async choose(kind: Kind, deviceId: string): Promise<void> {
    rememberDevice(kind, deviceId);
    await this.#reopen(kind);
  }

  /** Changes between the front and the rear camera of a phone. */
  async flip(): Promise<void> {
    this.#facing = this.#facing === 'user' ? 'environment' : 'user';
    rememberDevice('video', '');
    await this.#reopen('video');
  }

  /** The devices to choose from. Names are empty before the user allowed access. */
  async list(kind: Kind): Promise<MediaDeviceInfo[]> {
    if (whyNoMedia()) return [];
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    return all.filter((device) => device.kind === `${kind}input` && device.deviceId !== '');
  }

  /** Closes the devices. The object can be used again. */
  close(): void {
    this.abandon();
    for (const kind of KINDS) this.#stop(kind);
    this.#changed();
  }

  #isMissing(kind: Kind): boolean {
    const { wanted, track } = this.#devices[kind];
    return wanted && !track;
  }

  async #reopen(kind: Kind): Promise<void> {
    await this.#opening;
    if (!this.track(kind)) return this.#changed();
    // Phones cannot open two cameras at once.
    const muted = !this.isWanted(kind);
    this.#stop(kind);
    this.#devices[kind].wanted = true;
    await this.open();
    if (muted) await this.setOn(kind, false);
  }

  /** Requests all wanted devices at once, so that the browser asks once. If one is missing, each is tried alone. */
  async #open(): Promise<void> {
    const generation = this.#generation;
    const kinds = KINDS.filter((kind) => this.#isMissing(kind));
    const attempts = kinds.length > 1 ? [kinds, ...kinds.map((kind) => [kind])] : [kinds];
    for (const attempt of attempts) {
      if (attempt.length === 0 || generation !== this.#generation) return;
      try {
        const stream = await this.#request(attempt);
        this.#use(stream, attempt, generation);
        if (attempt === kinds) return;
      } catch (error) {
        if (generation !== this.#generation) return;
        const trouble = troubleOf(error);
        if (attempt.length === 1 || trouble === 'blocked') this.#fail(attempt, trouble);
        // The user has answered: another request would ask again.
        if (trouble === 'blocked') return;
      }
    }
  }

  /** Requests the chosen devices, or others if these are gone. */
  async #request(kinds: readonly Kind[]): Promise<MediaStream> {
    try {
      return await navigator.mediaDevices.getUserMedia(this.#constraints(kinds));
    } catch (error) {
      if (troubleOf(error) !== 'missing' || !kinds.some(rememberedDevice)) throw error;
      for (const kind of kinds) rememberDevice(kind, '');
      return navigator.mediaDevices.getUserMedia(this.#constraints(kinds));
    }
  }

  #constraints(kinds: readonly Kind[]): MediaStreamConstraints {
    const [microphone, camera] = [rememberedDevice('audio'), rememberedDevice('video')];
    // With `ideal`, Chromium prefers a camera of a better size to the chosen one.
    const which = camera ? { deviceId: { exact: camera } } : { facingMode: this.#facing };
    const video = { width: { ideal: 1280 }, height: { ideal: 720 }, ...which };
    const audio = microphone ? { deviceId: { exact: microphone } } : true;
    return { ...(kinds.includes('audio') ? { audio } : {}), ...(kinds.includes('video') ? { video } : {}) };
  }

  #use(stream: MediaStream, kinds: readonly Kind[], generation: number): void {
    for (const kind of kinds) {
      const track = stream.getTracks().find((track) => track.kind === kind);
      const device = this.#devices[kind];
      if (!track) continue;
      if (generation !== this.#generation || (kind === 'video' && !device.wanted)) {
        track.stop();
        continue;
      }
      track.enabled = device.wanted;
      device.track = track;
      device.trouble = undefined;
      track.addEventListener('ended', () => {
        if (device.track !== track) return;
        this.#stop(kind);
        this.#fail([kind], 'unplugged');
        this.#changed();
      });
    }
    this.#changed();
  }

  #fail(kinds: readonly Kind[], trouble: Trouble): void {
    for (const kind of kinds) {
      this.#devices[kind].trouble = trouble;
      this.#devices[kind].wanted = false;
    }
  }

  #stop(kind: Kind): void {
    const { track } = this.#devices[kind];
    this.#devices[kind].track = undefined;
    track?.stop();
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}

/** Why the page cannot use any camera or microphone, or undefined. */
export function whyNoMedia(): string | undefined {
  // Undefined on insecure origins, although its type says otherwise.
  if (navigator.mediaDevices as MediaDevices | undefined) return undefined;
  return globalThis.isSecureContext
    ? 'This browser does not support camera and microphone access. You can still see and hear the others, and chat.'
    : 'Camera and microphone are unavailable: this page was loaded over plain http, and browsers allow them only over https or on localhost. You can still see and hear the others, and chat.';
}

/** Whether the user has allowed camera and microphone before, so that opening them asks no question. */
export async function isAllowed(): Promise<boolean> {
  try {
    const names = ['camera', 'microphone'] as PermissionName[];
    const states = await Promise.all(names.map((name) => navigator.permissions.query({ name })));
    return states.every(({ state }) => state === 'granted');
  } catch {
    return false;
  }
}

function troubleOf(error: unknown): Trouble {
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'blocked';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    default:
      return 'failed';
  }
}
