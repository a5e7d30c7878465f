/** The shared screen. Fires `change` when sharing starts or ends. */
export class ScreenShare extends EventTarget {
  #track: MediaStreamTrack | undefined;

  /** Whether the browser can share a screen. Those of phones cannot. */
  static get isSupported(): boolean {
    // Undefined on insecure origins, although its type says otherwise.
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    return typeof devices?.getDisplayMedia === 'function';
  }

  get track(): MediaStreamTrack | undefined {
    return this.#track;
  }

  /** Lets the user choose what to share. Does nothing if the user cancels. */
  async start(): Promise<void> {
    const stream = await navigator.mediaDevices
      .getDisplayMedia({ video: { frameRate: { max: 30 } } })
      .catch(() => null);
    const [track] = stream?.getVideoTracks() ?? [];
    if (!track) return;
    this.stop();
    // Text must stay sharp, even at a low frame rate.
    track.contentHint = 'detail';
    // The browser has its own button to end sharing.
    track.addEventListener('ended', () => this.#track === track && this.stop());
    this.#set(track);
  }

  stop(): void {
    this.#track?.stop();
    if (this.#track) this.#set(undefined);
  }

  #set(track: MediaStreamTrack | undefined): void {
    this.#track = track;
    this.dispatchEvent(new Event('change'));
  }
}
