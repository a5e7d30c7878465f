const NAME = 'signalbox.name';

/** The name that was used last. Storage may be switched off; then nothing is remembered. */
export function rememberedName(): string {
  try {
    return localStorage.getItem(NAME) ?? '';
  } catch {
    return '';
  }
}

/** Keeps the name for next time. */
export function rememberName(name: string): void {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // See above.
  }
}
