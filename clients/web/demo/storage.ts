const NAME = 'signalbox.name';

/** The last name used, or '' if storage is disabled. */
export function rememberedName(): string {
  try {
    return localStorage.getItem(NAME) ?? '';
  } catch {
    return '';
  }
}

/** Stores the name for the next visit. */
export function rememberName(name: string): void {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // Storage is disabled.
  }
}
