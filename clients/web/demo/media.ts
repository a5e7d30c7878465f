/** Camera and microphone as far as there are any, and in plain words why there are not. */
export interface LocalMedia {
  readonly stream: MediaStream | undefined;
  readonly notice: string | undefined;
}

/** Why this page cannot use camera and microphone at all, or undefined. */
export function whyNoMedia(): string | undefined {
  // Undefined on insecure origins, whatever its type says.
  if (navigator.mediaDevices as MediaDevices | undefined) return undefined;
  return globalThis.isSecureContext
    ? 'This browser gives no access to camera and microphone. You can see and hear the others, and chat.'
    : 'No camera and microphone here: this page came over plain http, and browsers allow them only over https or on localhost. You can see and hear the others, and chat.';
}

/** Asks for camera and microphone, then for either alone. Never throws. */
export async function openMedia(): Promise<LocalMedia> {
  const impossible = whyNoMedia();
  if (impossible) return { stream: undefined, notice: impossible };
  const video = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const attempts: [MediaStreamConstraints, string | undefined][] = [
    [{ video, audio: true }, undefined],
    [{ audio: true }, 'No camera could be used, so the others only hear you.'],
    [{ video }, 'No microphone could be used, so the others only see you.'],
  ];
  let failure: unknown;
  for (const [constraints, notice] of attempts) {
    try {
      return { stream: await navigator.mediaDevices.getUserMedia(constraints), notice };
    } catch (error) {
      failure ??= error;
    }
  }
  return { stream: undefined, notice: `${explain(failure)} You can see and hear the others, and chat.` };
}

function explain(error: unknown): string {
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
      return 'Camera and microphone are not allowed for this page. You can change that next to the address, then reload.';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No camera or microphone was found.';
    case 'NotReadableError':
    case 'AbortError':
      return 'Camera and microphone are in use by another program.';
    default:
      return 'Camera and microphone could not be opened.';
  }
}
