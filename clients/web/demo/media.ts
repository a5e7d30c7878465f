/** The available camera and microphone, and a notice for the user about what is missing. */
export interface LocalMedia {
  readonly stream: MediaStream | undefined;
  readonly notice: string | undefined;
}

/** Why the page cannot use any camera or microphone, or undefined. */
export function whyNoMedia(): string | undefined {
  // Undefined on insecure origins, although its type says otherwise.
  if (navigator.mediaDevices as MediaDevices | undefined) return undefined;
  return globalThis.isSecureContext
    ? 'This browser does not support camera and microphone access. You can still see and hear the others, and chat.'
    : 'Camera and microphone are unavailable: this page was loaded over plain http, and browsers allow them only over https or on localhost. You can still see and hear the others, and chat.';
}

/** Requests camera and microphone, then each of them alone. Never throws. */
export async function openMedia(): Promise<LocalMedia> {
  const impossible = whyNoMedia();
  if (impossible) return { stream: undefined, notice: impossible };
  const video = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const attempts: [MediaStreamConstraints, string | undefined][] = [
    [{ video, audio: true }, undefined],
    [{ audio: true }, 'No camera is available. The others can only hear you.'],
    [{ video }, 'No microphone is available. The others can only see you.'],
  ];
  let failure: unknown;
  for (const [constraints, notice] of attempts) {
    try {
      return { stream: await navigator.mediaDevices.getUserMedia(constraints), notice };
    } catch (error) {
      failure ??= error;
    }
  }
  return { stream: undefined, notice: `${explain(failure)} You can still see and hear the others, and chat.` };
}

function explain(error: unknown): string {
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
      return 'Camera and microphone are not allowed for this page. Allow them in the address bar, then reload.';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No camera or microphone was found.';
    case 'NotReadableError':
    case 'AbortError':
      return 'Camera and microphone are in use by another program. Close it, then reload.';
    default:
      return 'Camera and microphone could not be opened.';
  }
}
